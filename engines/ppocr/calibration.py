"""Sample pages that int8 models are calibrated on, and what the models see of them.

A set of pages is named by the hash of its pixels and kept in the cache as PNG files. A setting names a kept set,
or a folder of page images.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from engines.cache import cache_root
from engines.interface import Page, Settings, StageTimer, UnsupportedError
from engines.ppocr.images import LINE_HEIGHT, Pixels, canvas, crop, detection_input, line_batch
from engines.ppocr.models import resolve
from engines.ppocr.runtimes import Tensor, open_session
from engines.ppocr.stages import Detector

NONE = "none"
MAX_PAGES = 16
_MAX_SIDE = 2000
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_MAX_PIXELS = 100_000_000
_MAX_LINES = 160
_BUCKET = 32
_SIDE = 960
"""Longest side that pages are calibrated at, whatever `det_side` says: ranges of activations hardly depend on the
scale, and an artefact for each side would make every step of a search along `det_side` start with a build."""


@dataclass(frozen=True, slots=True)
class Source:
    """Calibration pages: their identity, and how to get them where something must be built from them."""

    id: str
    load: Callable[[], Sequence[Pixels]]
    """Pages of shape (H, W, 3), RGB. Raises UnsupportedError where they are not on this machine or were changed."""


def keep(pages: Iterable[Page]) -> str:
    """Keep up to MAX_PAGES pages in the cache, large ones made smaller; returns the identity of the set.

    Side effect: writes PNG files into the cache folder, all or none.
    """
    bounded = [_bounded(page.pixels) for page in islice(pages, MAX_PAGES)]
    name = identity(bounded)
    folder = _folder(name)
    if folder.is_dir() and _same(folder, name):
        return name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".partial-") as scratch:
        new = Path(scratch) / name
        new.mkdir()
        for number, pixels in enumerate(bounded):
            Image.fromarray(pixels).save(new / f"{number:03d}.png")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    return name


def identity(pages: Sequence[Pixels]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of all pixels, page by page."""
    digest = hashlib.sha256()
    for pixels in pages:
        digest.update(repr(pixels.shape).encode())
        digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:16]


def source(knob: str, setting: str) -> Source:
    """The pages that a setting names: a kept set or a folder. Raises UnsupportedError for anything else."""
    if setting == NONE:
        raise UnsupportedError(
            f"static int8 needs calibration pages: set {knob} to a folder of page images (`tune` does it by itself)"
        )
    if re.fullmatch(r"[0-9a-f]{16}", setting):
        return Source(setting, partial(_kept, knob, setting))
    folder = Path(setting).expanduser()
    if not folder.is_dir():
        raise UnsupportedError(f"{knob}={setting} is neither a folder of page images nor a calibration set")
    pages = _images(folder)
    if not pages:
        raise UnsupportedError(
            f"{knob}: {folder} holds no page images; give PNG, JPEG, TIFF, BMP or WebP files"
        )
    return Source(identity(pages), lambda: pages)


def inputs(stage: Literal["det", "rec"], pages: Source) -> list[Tensor]:
    """What the model of a stage sees of the pages. Raises UnsupportedError where that is nothing."""
    found = (_detection_inputs if stage == "det" else _line_inputs)(pages.load())
    if not found:
        raise UnsupportedError(f"no text was found on the pages of {stage}_calibration; give others")
    return found


def _detection_inputs(pages: Sequence[Pixels]) -> list[Tensor]:
    """One tensor of shape (1, 3, H, W) a page, as the detector gets it."""
    drawn = [canvas(page, _MAX_SIDE) for page in pages]
    tensors = [detection_input(page.pixels, _SIDE, "max") for page in drawn if page is not None]
    return [tensor for tensor in tensors if tensor is not None]


def _line_inputs(pages: Sequence[Pixels]) -> list[Tensor]:
    """Tensors of shape (1, 3, 48, W), one a line, at most _MAX_LINES, taken evenly from all pages.

    One detector finds the lines whatever `det_model` says (the one that comes with RapidOCR's wheel): the artefact
    then depends on the recogniser and the pages alone, and changing the detector builds nothing anew.
    """
    options: Settings = {"runtime": "openvino", "threads": 0, "precision": "f32", "shape_cache": 1000}
    detector = Detector(
        open_session(resolve("det", "v6_small"), options, "cpu"),
        StageTimer(),
        side=_SIDE,
        limit_type="max",
        box_thresh=0.5,
        unclip_ratio=1.6,
        dilation=True,
        score_mode="fast",
    )
    share = -(-_MAX_LINES // max(len(pages), 1))
    tensors: list[Tensor] = []
    for drawn in (canvas(page, _MAX_SIDE) for page in pages):
        if drawn is None:
            continue
        quads = detector.boxes(drawn)
        chosen = np.unique(np.linspace(0, len(quads) - 1, min(share, len(quads))).astype(int))
        tensors += [_line(crop(drawn.pixels, quads[index], "fast")) for index in chosen]
    return tensors


def _line(pixels: Pixels) -> Tensor:
    width = max(LINE_HEIGHT * pixels.shape[1] // pixels.shape[0], 1)
    return line_batch([pixels], -(-width // _BUCKET) * _BUCKET)


def _folder(name: str) -> Path:
    return cache_root() / "calibration" / name


def _kept(knob: str, name: str) -> list[Pixels]:
    folder = _folder(name)
    if not folder.is_dir():
        raise UnsupportedError(
            f"the calibration pages {name} are not on this machine: copy {folder} from the machine that was tuned, "
            f"or set {knob} to a folder of page images"
        )
    pages = _images(folder)
    if identity(pages) != name:
        raise UnsupportedError(
            f"the calibration pages in {folder} were changed; remove the folder and tune again"
        )
    return pages


def _same(folder: Path, name: str) -> bool:
    try:
        return identity(_images(folder)) == name
    except UnsupportedError:
        return False


def _images(folder: Path) -> list[Pixels]:
    """The first MAX_PAGES images of a folder by name, large ones made smaller; other files are passed over."""
    pages: list[Pixels] = []
    for path in sorted(folder.iterdir()):
        if len(pages) == MAX_PAGES:
            break
        try:
            with Image.open(path, formats=_FORMATS) as image:
                # Pillow's own limit is not relied on: it is one for the process, and other libraries lift it.
                if image.width * image.height > _MAX_PIXELS:
                    raise ValueError(f"{image.width} x {image.height} pixels are more than {_MAX_PIXELS:,}")
                pages.append(_bounded(np.asarray(ImageOps.exif_transpose(image).convert("RGB"))))
        except (UnidentifiedImageError, IsADirectoryError):
            continue
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UnsupportedError(f"{path} cannot be read as a calibration page: {error}") from error
    return pages


def _bounded(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    shrink = _MAX_SIDE / max(height, width)
    if shrink >= 1:
        return pixels
    size = (max(round(width * shrink), 1), max(round(height * shrink), 1))
    smaller: Pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return smaller
