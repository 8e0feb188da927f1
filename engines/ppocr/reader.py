"""The pipeline: detection, crops, direction, recognition of all lines of a call together, reading order."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, pairwise

import numpy as np

from engines.interface import Box, Line, Page, PageText, Settings, StageTimer
from engines.ppocr.cascade import Cascade, LineReader
from engines.ppocr.columns import split_at_gutters
from engines.ppocr.images import Pixels, canvas, crop, inked
from engines.ppocr.knobs import NO_ESCALATION
from engines.ppocr.models import characters, resolve
from engines.ppocr.order import reading_order
from engines.ppocr.quantization import quantised
from engines.ppocr.runtimes import StageOptions, allocation_failures, model_format, open_session
from engines.ppocr.stages import Detector, DirectionClassifier, Recogniser

_EVERYTHING = slice(0, None), slice(0, None)


@dataclass(frozen=True, slots=True)
class _Found:
    """What was detected on one page: boxes in page pixels, and the pixels of each."""

    boxes: list[Box]
    crops: list[Pixels]


class PpocrReader:
    """Reads pages; see `engines.interface.Reader`."""

    def __init__(self, settings: Settings, device: str, timer: StageTimer) -> None:
        self._timer = timer
        self._max_side = int(settings["max_side"])
        self._skip_empty = bool(settings["skip_empty"])
        self._overlap = bool(settings["overlap"])
        self._split_columns = bool(settings["split_columns"])
        self._crop_mode = str(settings["crop_mode"])
        self._text_score = float(settings["text_score"])
        options = StageOptions("det", settings)
        path = resolve("det", str(settings["det_model"]), model_format(options))
        self._detector = Detector(
            open_session(quantised("det", path, options, device, timer), options, device),
            timer,
            side=int(settings["det_side"]),
            limit_type=str(settings["det_limit_type"]),
            box_thresh=float(settings["det_box_thresh"]),
            unclip_ratio=float(settings["det_unclip_ratio"]),
            dilation=bool(settings["det_dilation"]),
            score_mode=str(settings["det_score_mode"]),
        )
        options = StageOptions("rec", settings)
        self._classifier = None
        if settings["use_cls"]:
            classifier = open_session(resolve("cls", "v2_mobile"), options, device)
            self._classifier = DirectionClassifier(classifier, int(settings["cls_batch"]))
        self._recogniser = _line_reader(settings, options, device, timer)

    def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
        """One text per page, lines in reading order."""
        with allocation_failures():
            found = self.lines(pages)
            with self._timer.stage("postprocess"):
                return [PageText(reading_order(lines)) for lines in found]

    def lines(self, pages: Sequence[Page]) -> list[list[Line]]:
        """One line for each box that holds text, page by page, as they were detected."""
        if self._overlap:
            return list(self._overlapped(pages))
        return self._recognised([self._detect(page.pixels) for page in pages])

    def _overlapped(self, pages: Sequence[Page]) -> Iterator[list[Line]]:
        """The lines of each page, while a thread detects those of the next page and of no other."""
        with ThreadPoolExecutor(1, thread_name_prefix="detect") as detection:
            found = (detection.submit(self._detect, page.pixels) for page in pages)
            # Taking pairs begins the next page before this one is recognised, and no page after that.
            for page, _ in pairwise(chain(found, [None])):
                if page is not None:
                    yield from self._recognised([page.result()])

    def _recognised(self, found: Sequence[_Found]) -> list[list[Line]]:
        """The lines of pages from their boxes and crops; those of all pages share batches."""
        with self._timer.stage("recognise"):
            crops = [crop for page in found for crop in page.crops]
            if self._classifier is not None:
                crops = self._classifier.upright(crops)
            readings = iter(self._recogniser.read(crops))
        # Each page takes as many readings as it has boxes and leaves the rest to the next one.
        return [
            [
                Line(reading.text, box, reading.confidence)
                for box, reading in zip(page.boxes, readings, strict=False)
                if reading.text.strip() and reading.confidence >= self._text_score
            ]
            for page in found
        ]

    def _detect(self, pixels: Pixels) -> _Found:
        with self._timer.stage("preprocess"):
            drawn = canvas(pixels, self._max_side)
            area = inked(drawn.pixels) if drawn is not None and self._skip_empty else _EVERYTHING
        if drawn is None or area is None:
            return _Found([], [])
        quads = self._detector.boxes(replace(drawn, pixels=drawn.pixels[area]))
        quads += np.array([area[1].start, area[0].start], np.float32)
        with self._timer.stage("crop"):
            if self._split_columns:
                quads = split_at_gutters(drawn.pixels, quads)
            crops = [crop(drawn.pixels, quad, self._crop_mode) for quad in quads]
        return _Found([_box(quad.tolist()) for quad in drawn.to_page(quads)], crops)


def _box(corners: list[list[float]]) -> Box:
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = corners
    return (ax, ay), (bx, by), (cx, cy), (dx, dy)


def _line_reader(settings: Settings, options: StageOptions, device: str, timer: StageTimer) -> LineReader:
    """The recogniser of `settings`, with the one behind it that reads doubtful lines again."""

    def recogniser(model: str) -> Recogniser:
        path = resolve("rec", model, model_format(options))
        session = open_session(quantised("rec", path, options, device, timer), options, device)
        return Recogniser(
            session,
            characters(path, session.metadata),
            batch=int(settings["rec_batch"]),
            batch_width=int(settings["rec_batch_width"]),
            min_width=int(settings["rec_min_width"]),
            width_bucket=int(settings["rec_width_bucket"]),
        )

    first = recogniser(str(settings["rec_model"]))
    if settings["rec_escalate_model"] == NO_ESCALATION:
        return first
    return Cascade(
        first, recogniser(str(settings["rec_escalate_model"])), float(settings["rec_escalate_below"])
    )
