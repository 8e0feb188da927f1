"""Files to pixels: every kind of page becomes the same upright RGB array, or a PageError.

This runs in the process that is measured, so it imports nothing of the tool but the page references.
"""

import math
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Any
from zlib import error as ZlibError  # noqa: N812

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from engines.interface import Line, PageText, Settings
from harness.data.refs import PageRef, box

MAX_FILE_MIB = 512
MAX_PIXELS = 120_000_000
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM")
"""Pillow's readers that may be used. The others are rare, and some start other programs."""

# What Pillow's readers raise on damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, StructError, ZlibError)

_JPEG_SCALES = (8, 4, 2, 1)
"""What libjpeg can divide both sides by while it decodes, without computing the pixels that are left out."""
_TURNED = (5, 6, 7, 8)
"""EXIF orientations of images that are stored with their sides exchanged."""

_PDFIUM = threading.RLock()
"""PDFium must not be called from two threads at once."""

Pixels = NDArray[np.uint8]


class PageError(Exception):
    """A page that cannot be read; one sentence that names the file and the cause."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How much of a page is decoded: as it stands, all of it."""

    jpeg_side: int = 0
    """A JPEG is decoded at the smallest scale of libjpeg whose longer side has at least so many pixels; 0: whole."""
    pdf_side: int = 0
    """Pixels of the longer side of a rendered PDF page; 0: as many as the resolution of its set gives."""
    grey: bool = False
    text_layer: bool = False
    """Whether the text layer of a PDF page, where it has one, stands in for its pixels."""

    @classmethod
    def of(cls, settings: Settings) -> "Decoding":
        """What complete settings of the page pipeline ask for."""
        return cls(
            jpeg_side=int(settings.get("jpeg_side", 0)),
            pdf_side=int(settings.get("pdf_side", 0)),
            grey=bool(settings.get("grey", False)),
            text_layer=bool(settings.get("use_text_layer", False)),
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded page beside its whole size: what is read on fewer pixels still lies on the page as it is."""

    pixels: Pixels
    """(height, width, 3) uint8: RGB, upright, contiguous, writable, transparency over white."""
    width: int
    height: int
    """Of the upright page in page pixels: those of its file, or of a PDF at the resolution of its set."""

    def on_page(self, line: Line) -> Line:
        """The line with its box in page pixels instead of decoded ones."""
        across, down = self.width / self.pixels.shape[1], self.height / self.pixels.shape[0]
        if across == down == 1 or line.box is None:
            return line
        return replace(line, box=box([(x * across, y * down) for x, y in line.box]))


def decode(ref: PageRef) -> Pixels:
    """All pixels of the page, as in `Picture`.

    Raises PageError where the file is damaged, too large, locked or not a page at all. Safe in threads.
    """
    return picture(ref, Decoding()).pixels


def open_page(ref: PageRef, how: Decoding) -> Picture | PageText:
    """The page's text layer where that is asked for and there is one, else its pixels; otherwise as `decode`."""
    if how.text_layer and ref.kind == "pdf":
        text = read_text_layer(Path(ref.path), ref.page_index)
        if text is not None:
            return PageText(tuple(Line(line) for line in text.split("\n") if line.strip()))
    return picture(ref, how)


def picture(ref: PageRef, how: Decoding) -> Picture:
    """The pixels of the page that `how` asks for; otherwise as `decode`."""
    path = Path(ref.path)
    _check_file(path)
    if ref.kind == "pdf":
        return _rendered(path, ref, how)
    with _damage_named(path), _opened(path) as image:
        if ref.page_index:
            image.seek(ref.page_index)
        width, height = image.size
        _admit(path, width, height)
        _draft(image, how)
        image.load()
        if image.getexif().get(ExifTags.Base.Orientation) in _TURNED:
            width, height = height, width
        return Picture(_to_rgb(image, grey=how.grey), width, height)


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says of itself before any pixel is decoded."""

    format: str
    width: int
    height: int
    colour: bool
    """Whether its pixels may differ in more than their shade."""


def read_header(ref: PageRef) -> Header:
    """The header of an image page. Raises PageError as `decode` does."""
    path = Path(ref.path)
    _check_file(path)
    with _damage_named(path), _opened(path) as image:
        if ref.page_index:
            image.seek(ref.page_index)
        kind = "JPEG" if isinstance(image, JpegImageFile) else image.format or ""
        return Header(kind, *image.size, colour=Image.getmodebase(image.mode) != "L")


def count_pages(path: Path, *, pdf: bool) -> int:
    """How many pages a file has, from headers alone. Raises PageError as `decode` does."""
    _check_file(path)
    if pdf:
        with open_pdf(path) as document:
            return len(document)
    with _damage_named(path), _opened(path) as image:
        _admit(path, *image.size)
        return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1


def read_text_layer(path: Path, index: int) -> str | None:
    """A PDF page's text layer in the order of the file, None where it has none. Raises PageError."""
    _check_file(path)
    with open_pdf(path) as document:
        page = document[index]
        textpage = page.get_textpage()
        text = str(textpage.get_text_bounded())
        textpage.close()
        page.close()
    # PDFium puts U+FFFE, which no text may hold, for a hyphen at a line's end and the line break after it.
    text = text.replace("\ufffe", "-\n").replace("\r\n", "\n").replace("\r", "\n")
    return text.strip() or None


@contextmanager
def open_pdf(path: Path) -> Iterator[Any]:
    """A pypdfium2 document. Other threads wait until it is closed. Raises PageError."""
    import pypdfium2  # noqa: PLC0415 - most runs have no PDF pages
    import pypdfium2.raw  # noqa: PLC0415

    with _PDFIUM:
        try:
            document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
                raise PageError(f"{path} is encrypted: save it without a password") from error
            raise PageError(f"{path} is not a readable PDF: {error}") from error
        try:
            yield document
        except pypdfium2.PdfiumError as error:
            raise PageError(f"{path} is damaged: {error}") from error
        finally:
            document.close()


def _rendered(path: Path, ref: PageRef, how: Decoding) -> Picture:
    with open_pdf(path) as document:
        document.init_forms()  # what was filled in is part of the page
        page = document[ref.page_index]
        points = page.get_size()
        whole = ref.dpi / 72
        scale = how.pdf_side / max(points) if how.pdf_side else whole
        _admit(path, round(points[0] * scale), round(points[1] * scale))
        bitmap = page.render(scale=scale, grayscale=how.grey, rev_byteorder=True)  # RGB
        drawn = bitmap.to_numpy()
        pixels = _gray_to_rgb(drawn) if how.grey else np.array(drawn, order="C")
        bitmap.close()
        page.close()
    width, height = (math.ceil(side * whole) for side in points)  # as PDFium rounds them
    return Picture(pixels, width, height)


def _draft(image: Image.Image, how: Decoding) -> None:
    """Tell libjpeg what need not be decoded. Pillow's other readers decode everything whatever they are told."""
    if not (how.jpeg_side or how.grey):
        return
    longer = max(image.size)
    scale = next(s for s in _JPEG_SCALES if s == 1 or -(-longer // s) >= how.jpeg_side > 0)
    image.draft("L" if how.grey else None, (max(1, image.width // scale), max(1, image.height // scale)))


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise PageError(f"{path} cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise PageError(f"{path} is not a file")
    if status.st_size == 0:
        raise PageError(f"{path} is empty (0 bytes)")
    if status.st_size > MAX_FILE_MIB << 20:
        raise PageError(f"{path} is larger than the {MAX_FILE_MIB} MiB that a file may have")


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn what Pillow raises into a PageError."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise PageError(f"{path} is not an image of a known kind ({', '.join(FORMATS)})") from error
    except _DAMAGE as error:
        raise PageError(f"{path} is damaged: {error}") from error


def _opened(path: Path) -> Image.Image:
    # Pillow's own limit warns where it should refuse, and belongs to the whole process: other libraries move it.
    # Ours is `_admit`.
    Image.MAX_IMAGE_PIXELS = None
    return Image.open(path, formats=FORMATS)


def _admit(path: Path, width: int, height: int) -> None:
    if min(width, height) < 1:
        raise PageError(f"{path} has no area: {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        most = MAX_PIXELS // 1_000_000
        raise PageError(f"{path} has {width} x {height} pixels, more than the {most} million a page may have")


def _to_rgb(image: Image.Image, *, grey: bool) -> Pixels:
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        return _gray_to_rgb(_to_8_bit(np.asarray(image), image.mode))
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes all CMYK JPEGs for Adobe's, which are inverted
    if image.has_transparency_data:
        page = image.convert("RGBA")
        image = Image.new("RGB", page.size, "white")
        image.paste(page, mask=page)
    if grey or image.mode in ("1", "L"):
        return _gray_to_rgb(np.asarray(image.convert("L")))
    return np.array(image.convert("RGB"))


def _gray_to_rgb(gray: Pixels) -> Pixels:
    pixels = np.empty((*gray.shape, 3), np.uint8)
    for channel in range(3):
        pixels[:, :, channel] = gray  # three strided copies are several times faster than one broadcast
    return pixels


def _to_8_bit(values: NDArray[Any], mode: str) -> Pixels:
    """Scale gray values to 0..255. White is 65535 in 16-bit modes.

    Modes I and F do not say what white is: it is the smallest of 1 (F only), 255, 65535 and 2**31 - 1 that no
    value exceeds.
    """
    if mode.startswith("I;16"):
        return (values.astype(np.uint16) >> 8).astype(np.uint8)
    finite = np.nan_to_num(values.astype(np.float64), nan=0.0)
    whites = (1, 255, 65_535, 2**31 - 1) if mode == "F" else (255, 65_535, 2**31 - 1)
    white = next((white for white in whites if finite.max() <= white), float(finite.max()))
    return np.rint(np.clip(finite / white, 0, 1) * 255).astype(np.uint8)
