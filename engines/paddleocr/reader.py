"""Pages through an opened pipeline of PaddleOCR."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.interface import Box, Line, OutOfMemoryError, Page, PageText, Stage, StageTimer

_OUT_OF_MEMORY = ("out of memory", "resourceexhausted", "bad_alloc", "failed to allocate")


class PaddleReader:
    """Reads with one pipeline, which must never predict twice at once: a lock sees to that."""

    def __init__(self, pipeline: Any, timer: StageTimer, *, structure: bool, boxes_fit: bool) -> None:
        self._pipeline = pipeline
        self._timer = timer
        self._structure = structure
        self._boxes_fit = boxes_fit
        self._lock = threading.Lock()
        self._within_s = 0.0
        inner = pipeline.paddlex_pipeline._pipeline
        ocr = inner.general_ocr_pipeline if structure else inner
        ocr.text_det_model = self._timed("detect", ocr.text_det_model)
        ocr.text_rec_model = self._timed("recognise", ocr.text_rec_model)

    def read(self, pages: Sequence[Page]) -> list[PageText]:
        """All pages in one call, which the library reads one by one."""
        if not pages:
            return []
        with self._timer.stage("preprocess"):  # arrays are taken in OpenCV's order of colours
            images = [np.ascontiguousarray(page.pixels[:, :, ::-1]) for page in pages]
        with self._lock:
            start, self._within_s = time.perf_counter(), 0.0
            results = self._predict(images)
            # Between the models: cropping and, where they are switched on, the stages beside them.
            self._timer.add("crop", time.perf_counter() - start - self._within_s)
        with self._timer.stage("postprocess"):
            texts = _blocks if self._structure else self._lines
            return [PageText(tuple(texts(result))) for result in results]

    def _predict(self, images: list[NDArray[np.uint8]]) -> list[Mapping[str, Any]]:
        try:
            return list(self._pipeline.predict(images))
        except (MemoryError, RuntimeError) as error:
            text = f"{type(error).__name__}: {error}"
            if not isinstance(error, MemoryError) and not any(
                sign in text.lower() for sign in _OUT_OF_MEMORY
            ):
                raise
            _empty_cache()
            raise OutOfMemoryError(text.splitlines()[0]) from error

    def _timed(self, stage: Stage, model: Any) -> Callable[..., list[Any]]:
        """The model, with its time told to the timer. It answers with a generator, which is emptied here."""

        def call(*positional: Any, **named: Any) -> list[Any]:
            start = time.perf_counter()
            answers = list(model(*positional, **named))
            spent_s = time.perf_counter() - start
            self._timer.add(stage, spent_s)
            self._within_s += spent_s
            return answers

        return call

    def _lines(self, result: Mapping[str, Any]) -> Iterator[Line]:
        found = zip(result["rec_texts"], result["rec_scores"], result["rec_polys"], strict=True)
        for text, score, corners in found:
            if text.strip():
                yield Line(text, _box(corners) if self._boxes_fit else None, float(score))


def _blocks(result: Mapping[str, Any]) -> Iterator[Line]:
    """Lines of the layout's blocks in reading order."""
    for block in result["parsing_res_list"]:
        yield from (Line(line) for line in block.content.splitlines() if line.strip())


def _box(corners: Any) -> Box:
    """The library's (4, 2) array: clockwise from the top left, in page pixels."""
    a, b, c, d = ((float(x), float(y)) for x, y in corners)
    return (a, b, c, d)


def _empty_cache() -> None:
    import paddle

    if paddle.device.is_compiled_with_cuda():
        paddle.device.cuda.empty_cache()
