"""RapidOCR as its authors ship it: PP-OCRv6 small in ONNX, with its own pre- and post-processing.

Settings carry the library's names (https://rapidai.github.io/RapidOCRDocs), with the part in front where one
name would not tell it. Lines keep the order in which the library returns them.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from engines.interface import (
    Box,
    Choice,
    Knob,
    Line,
    Machine,
    Ordered,
    Page,
    PageText,
    Settings,
    StageTimer,
    UnsupportedError,
)

_PARTS = ("Det", "Cls", "Rec")
_REC_HEIGHT_PX = 48
_PARAMETERS = {
    "use_cls": "Global.use_cls",
    "max_side_len": "Global.max_side_len",
    "text_score": "Global.text_score",
    "det_limit_type": "Det.limit_type",
    "det_limit_side_len": "Det.limit_side_len",
    "det_box_thresh": "Det.box_thresh",
    "det_unclip_ratio": "Det.unclip_ratio",
    "rec_batch_num": "Rec.rec_batch_num",
    "intra_op_num_threads": "EngineConfig.onnxruntime.intra_op_num_threads",
    "inter_op_num_threads": "EngineConfig.onnxruntime.inter_op_num_threads",
    "enable_cpu_mem_arena": "EngineConfig.onnxruntime.enable_cpu_mem_arena",
    "inference_num_threads": "EngineConfig.openvino.inference_num_threads",
}
"""The library's name of each setting that it takes as it is."""


def summary() -> str:
    """What it is, with the licence of code and weights."""
    return "RapidOCR as installed: PP-OCRv6 small on ONNX Runtime or OpenVINO (code and weights Apache-2.0)"


def packages() -> tuple[str, ...]:
    """Distributions whose versions decide what it does."""
    return ("rapidocr", "onnxruntime", "openvino")


def unusable(machine: Machine) -> str | None:
    """Why it cannot run here, None where it can."""
    del machine  # a CPU is enough
    for package in packages():
        if find_spec(package) is None:
            return f"the package {package} is not installed; run `pip install {package}`"
    return None


def knobs(machine: Machine) -> tuple[Knob, ...]:
    """What can be set. The defaults are those of the library's config.yaml."""
    threads = Ordered((-1, *range(1, machine.cores + 1)))
    page_side = Ordered((960, 1280, 1600, 2000, 2600, 4000), low=320, high=10000)
    side = Ordered((320, 480, 640, 736, 960, 1280, 1600), low=32, high=4000)
    growth = Ordered((1.2, 1.4, 1.6, 1.8, 2.0), low=1.0, high=3.0)
    score = Ordered((0.3, 0.4, 0.5, 0.6, 0.7), low=0.0, high=1.0)
    batch = Ordered((1, 2, 4, 6, 8, 16, 32), high=256)
    width = Ordered((48, 96, 160, 240, 320), high=3200)
    runtime = Choice(("onnxruntime", "openvino"))
    reads = partial(Knob, changes_text=True)
    onnxruntime = partial(Knob, when={"engine_type": ("onnxruntime",)})
    openvino = partial(Knob, when={"engine_type": ("openvino",)})
    return (
        reads("engine_type", "pipeline", runtime, "onnxruntime", "runtime of all three models"),
        reads(
            "max_side_len",
            "preprocess",
            page_side,
            2000,
            "pages with a longer side in pixels are reduced to it",
        ),
        reads(
            "det_limit_type",
            "detect",
            Choice(("min", "max")),
            "min",
            "side that the limit is for: enlarge or reduce",
        ),
        reads("det_limit_side_len", "detect", side, 736, "the detector's side limit in pixels"),
        reads("det_box_thresh", "detect", score, 0.5, "boxes with a lower score are dropped"),
        reads("det_unclip_ratio", "detect", growth, 1.6, "how far a box grows around what was detected"),
        reads("use_cls", "crop", Choice((True, False)), True, "turn lines that stand on their head"),
        reads("rec_batch_num", "recognise", batch, 6, "lines in one batch, all padded to the widest"),
        reads(
            "rec_img_width", "recognise", width, 320, "least padded width of a line in pixels (rec_img_shape)"
        ),
        reads("text_score", "postprocess", score, 0.5, "lines read with less confidence are dropped"),
        onnxruntime("intra_op_num_threads", "pipeline", threads, -1, "threads in an operator; -1: its own"),
        onnxruntime("inter_op_num_threads", "pipeline", threads, -1, "threads across operators; -1: its own"),
        onnxruntime(
            "enable_cpu_mem_arena", "pipeline", Choice((False, True)), False, "keep memory for the next call"
        ),
        openvino("inference_num_threads", "pipeline", threads, -1, "threads; -1: its own"),
    )


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator["_Reader"]:
    """RapidOCR on the CPU with its three models loaded. Nothing is downloaded."""
    if device != "cpu":
        raise UnsupportedError(f"rapidocr runs on the device cpu only, not on {device!r}")
    import cv2
    from rapidocr import EngineType, RapidOCR

    parameters: dict[str, Any] = {
        theirs: settings[ours] for ours, theirs in _PARAMETERS.items() if ours in settings
    }
    parameters |= {f"{part}.engine_type": EngineType(settings["engine_type"]) for part in _PARTS}
    parameters["Rec.rec_img_shape"] = [3, _REC_HEIGHT_PX, settings["rec_img_width"]]
    ocr = RapidOCR(params=parameters | {"Global.log_level": "error"})
    for part in _PARTS:
        ocr.cfg[part].model_path = str(_packaged_model(ocr.cfg, part))
    # The models are loaded when they are first needed: a page with a word on it needs them all.
    paper = np.full((96, 256, 3), 255, np.uint8)
    ocr(cv2.putText(paper, "load", (40, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (0, 0, 0), 3))
    yield _Reader(ocr, timer)


def _packaged_model(config: Any, part: str) -> Path:
    """The file that the library would use, or else download, for `part`."""
    from rapidocr.inference_engine.base import FileInfo, InferSession

    names = ("engine_type", "ocr_version", "task_type", "lang_type", "model_type")
    source = InferSession.get_model_url(FileInfo(**{name: config[part][name] for name in names}))
    file = Path(config.Global.model_root_dir) / Path(source["model_dir"]).name
    if not file.is_file():
        raise UnsupportedError(
            f"rapidocr: the model {file} is not on this machine; "
            "run `rapidocr download_models` where the network allows"
        )
    return file


class _Reader:
    def __init__(self, ocr: Any, timer: StageTimer) -> None:
        self._ocr = ocr
        self._timer = timer

    def read(self, pages: Sequence[Page]) -> list[PageText]:
        """Page by page: the library takes one image a call."""
        return [self._read(page) for page in pages]

    def _read(self, page: Page) -> PageText:
        import cv2
        from rapidocr.utils.process_img import ResizeImgError

        with self._timer.stage("preprocess"):
            pixels = cv2.cvtColor(page.pixels, cv2.COLOR_RGB2BGR)  # arrays are taken as OpenCV's own order
        start = time.perf_counter()
        try:
            result = self._ocr(pixels)
        except ResizeImgError:  # a strip of which nothing is left when its long side is reduced
            return PageText(())
        wall_s = time.perf_counter() - start
        detect_s, _, recognise_s = result.elapse_list or (wall_s, 0.0, 0.0)
        self._timer.add("detect", detect_s)
        self._timer.add("recognise", recognise_s)
        self._timer.add("crop", wall_s - detect_s - recognise_s)  # with the direction of lines
        if result.txts is None:
            return PageText(())
        return PageText(
            tuple(
                Line(text, _box(corners), float(score))
                for text, corners, score in zip(result.txts, result.boxes, result.scores, strict=True)
            )
        )


def _box(corners: Any) -> Box:
    """The library's (4, 2) array: clockwise from the top left, in page pixels."""
    a, b, c, d = ((float(x), float(y)) for x, y in corners)
    return (a, b, c, d)
