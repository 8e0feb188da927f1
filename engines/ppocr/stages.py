"""The three models at work: detection of lines, their direction, their text."""

from collections.abc import Iterator

import numpy as np
from rapidocr.ch_ppocr_det.main import TextDetector
from rapidocr.ch_ppocr_det.utils import DBPostProcess

from engines.interface import StageTimer, UnsupportedError
from engines.ppocr.ctc import Reading, alphabet, best_path
from engines.ppocr.images import (
    LINE_HEIGHT,
    Canvas,
    Pixels,
    Quads,
    detection_input,
    line_batch,
)
from engines.ppocr.runtimes import Session, Tensor

_CLS_WIDTH = 192
_UPSIDE_DOWN = 1
_CLS_CONFIDENCE = 0.9
_BINARISATION = 0.3


class Detector:
    """Finds the boxes of text lines."""

    def __init__(
        self,
        session: Session,
        timer: StageTimer,
        *,
        side: int,
        limit_type: str,
        box_thresh: float,
        unclip_ratio: float,
        dilation: bool,
        score_mode: str,
    ) -> None:
        self._session = session
        self._timer = timer
        self._side = side
        self._limit_type = limit_type
        self._decode = DBPostProcess(
            thresh=_BINARISATION,
            box_thresh=box_thresh,
            unclip_ratio=unclip_ratio,
            use_dilation=dilation,
            score_mode=score_mode,
        )

    def boxes(self, canvas: Canvas) -> Quads:
        """Boxes of shape (N, 4, 2) in pixels of the canvas, roughly from top to bottom."""
        with self._timer.stage("preprocess"):
            tensor = detection_input(canvas.pixels, self._side, self._limit_type)
        if tensor is None:
            return np.empty((0, 4, 2), np.float32)
        with self._timer.stage("detect"):
            quads, _ = self._decode(self._session.run(tensor), canvas.pixels.shape[:2])
            if not len(quads):
                return np.empty((0, 4, 2), np.float32)
            # Lines of one width are batched in this order: RapidOCR's, so that batches equal its own.
            ordered: Quads = TextDetector.sorted_boxes(quads)
            return ordered


class DirectionClassifier:
    """Turns lines that stand on their head."""

    def __init__(self, session: Session, batch: int) -> None:
        self._session = session
        self._batch = batch

    def upright(self, crops: list[Pixels]) -> list[Pixels]:
        """The same lines, those turned by half that the model is sure to be upside down."""
        batches = (
            line_batch(crops[start : start + self._batch], _CLS_WIDTH)
            for start in range(0, len(crops), self._batch)
        )
        chances = self._session.map(batches, lambda output: output[:, _UPSIDE_DOWN].tolist())
        turned = [chance > _CLS_CONFIDENCE for batch in chances for chance in batch]
        # A view with both axes reversed: nothing is copied.
        return [crop[::-1, ::-1] if turn else crop for crop, turn in zip(crops, turned, strict=True)]


class Recogniser:
    """Reads lines in batches of similar width."""

    def __init__(
        self,
        session: Session,
        characters: list[str],
        *,
        batch: int,
        min_width: int,
        width_bucket: int,
        batch_width: int = 0,
    ) -> None:
        self._session = session
        self._batch = batch
        self._batch_width = batch_width
        self._min_width = min_width
        self._width_bucket = width_bucket
        self._classes = alphabet(characters)

    def read(self, crops: list[Pixels]) -> list[Reading]:
        """The reading of each line, in the order of `crops`."""
        ratios = np.array([crop.shape[1] / crop.shape[0] for crop in crops])
        # Not a stable sort: lines of one width fall into batches as they do in RapidOCR.
        by_width = np.argsort(ratios)
        batches = self._batches(crops, ratios, by_width)
        readings = [reading for batch in self._session.map(batches, self._decode) for reading in batch]
        read = dict(zip(by_width.tolist(), readings, strict=True))
        return [read[index] for index in range(len(crops))]

    def _batches(self, crops: list[Pixels], ratios: np.ndarray, by_width: np.ndarray) -> Iterator[Tensor]:
        start = 0
        while start < len(crops):
            count = min(self._batch, len(crops) - start)
            # The widest line of a batch is its last one and sets the width of all.
            while count > 1 and 0 < self._batch_width < count * self._width(
                ratios[by_width[start + count - 1]]
            ):
                count -= 1
            chosen = by_width[start : start + count]
            yield line_batch([crops[index] for index in chosen], self._width(ratios[chosen[-1]]))
            start += count

    def _width(self, ratio: float) -> int:
        """Width in pixels of a batch whose widest line has that ratio of width to height."""
        widest = int(LINE_HEIGHT * max(self._min_width / LINE_HEIGHT, ratio))
        return -(-widest // self._width_bucket) * self._width_bucket

    def _decode(self, output: Tensor) -> list[Reading]:
        classes = len(self._classes)
        if output.shape[2] != classes:
            raise UnsupportedError(
                f"the recognition model tells {output.shape[2]} classes apart but its list of characters "
                f"(with blank and space) has {classes}: give the list that belongs to the model"
            )
        return best_path(output, self._classes)
