"""The pipeline: detection, crops, direction, recognition of all lines of a call together, reading order."""

from collections.abc import Sequence

from engines.interface import Box, Line, Page, PageText, Settings, StageTimer
from engines.ppocr.cascade import Cascade, LineReader
from engines.ppocr.images import Pixels, canvas, crop
from engines.ppocr.knobs import NO_ESCALATION
from engines.ppocr.models import characters, resolve
from engines.ppocr.order import reading_order
from engines.ppocr.quantization import quantised
from engines.ppocr.runtimes import StageOptions, allocation_failures, model_format, open_session
from engines.ppocr.stages import Detector, DirectionClassifier, Recogniser


class PpocrReader:
    """Reads pages; see `engines.interface.Reader`."""

    def __init__(self, settings: Settings, device: str, timer: StageTimer) -> None:
        self._timer = timer
        self._max_side = int(settings["max_side"])
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
        cropped: list[Pixels] = []
        boxes: list[list[Box]] = []
        for page in pages:
            on_page, crops = self._detect(page.pixels)
            boxes.append(on_page)
            cropped.extend(crops)
        with self._timer.stage("recognise"):
            if self._classifier is not None:
                cropped = self._classifier.upright(cropped)
            texts = iter(self._recogniser.read(cropped))
        # Each page takes as many texts as it has boxes and leaves the rest to the next one.
        return [
            [
                Line(text, box, confidence)
                for box, (text, confidence) in zip(on_page, texts, strict=False)
                if text.strip() and confidence >= self._text_score
            ]
            for on_page in boxes
        ]

    def _detect(self, pixels: Pixels) -> tuple[list[Box], list[Pixels]]:
        with self._timer.stage("preprocess"):
            drawn = canvas(pixels, self._max_side)
        if drawn is None:
            return [], []
        quads = self._detector.boxes(drawn)
        with self._timer.stage("crop"):
            crops = [crop(drawn.pixels, quad, self._crop_mode) for quad in quads]
        return [_box(quad.tolist()) for quad in drawn.to_page(quads)], crops


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
