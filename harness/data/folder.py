"""A folder, image, PDF or multi-page TIFF of the user's as sources of pages."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engines.interface import Line
from harness.data.decode import PageError, count_pages, read_text_layer
from harness.data.manifest import NAME, read_manifest
from harness.data.refs import DEFAULT_DPI, box
from harness.errors import UserError

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".ppm", ".pgm", ".pbm")
SUFFIXES = (*IMAGES, ".pdf")
MAX_TEXT_MIB = 16


@dataclass(frozen=True, slots=True)
class Source:
    """A file that holds one page or several, and what is known of it."""

    id: str
    file: Path
    text: Path | None = None
    boxes: Path | None = None
    language: str = ""
    profile: str | None = None
    document: str | None = None
    sha256: str | None = None
    dpi: int = DEFAULT_DPI

    @property
    def is_pdf(self) -> bool:
        """Whether the file is a PDF, by its name."""
        return self.file.suffix.lower() == ".pdf"


@dataclass(frozen=True, slots=True)
class Sources:
    """What a path of the user's holds, before any file is opened."""

    files: tuple[Source, ...]
    licence: str = ""
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class SourcePage:
    """One page of a source."""

    source: Source
    id: str
    """Unique in its set: the source's, with the number of the page where the file has several."""
    index: int
    text: str | None
    boxes: tuple[Line, ...] = ()


def find_sources(path: Path) -> Sources:
    """The files with pages under `path`, in the order of the manifest or of their names.

    Raises UserError where there are none or the manifest is malformed.
    """
    try:
        if path.is_file():
            return Sources((_with_companions(path, path.stem),))
        if (path / NAME).is_file():
            return _from_manifest(path)
        files = sorted(file for file in path.rglob("*") if _is_page(file.relative_to(path)))
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): check its permissions") from error
    if not files:
        raise UserError(f"{path} has no pages: put images or PDFs there ({', '.join(SUFFIXES)})")
    ids = _ids([file.relative_to(path) for file in files])
    return Sources(tuple(_with_companions(file, name) for file, name in zip(files, ids, strict=True)))


def read_pages(source: Source) -> Iterator[SourcePage]:
    """The pages of a file with their ground truth; of images, only headers are read.

    Text comes from the file beside it, with form feeds between pages, else from the text layer of a PDF.
    Raises PageError where the file, its text or its boxes cannot be used.
    """
    pages = count_pages(source.file, pdf=source.is_pdf)
    texts: Sequence[str | None]
    if source.text is not None:
        whole = _read_text(source.text)
        texts = whole.removesuffix("\f").split("\f") if pages > 1 else [whole]
        if len(texts) != pages:
            raise PageError(
                f"{source.text} has text for {len(texts)} pages, {source.file.name} has {pages}: "
                "put a form feed between pages"
            )
    elif source.is_pdf:
        texts = [read_text_layer(source.file, index) for index in range(pages)]
    else:
        texts = [None] * pages
    boxes = _read_boxes(source.boxes) if source.boxes is not None and pages == 1 else ()
    for index, text in enumerate(texts):
        key = source.id if pages == 1 else f"{source.id}#{index + 1}"
        yield SourcePage(source, key, index, text, boxes)


def _from_manifest(folder: Path) -> Sources:
    manifest = read_manifest(folder)
    if not manifest.pages:
        raise UserError(f"{folder / NAME} lists no pages: add some or delete it")
    files = tuple(
        Source(
            page.id,
            folder / page.image,
            folder / page.text if page.text else None,
            folder / page.boxes if page.boxes else None,
            page.language,
            page.profile,
            page.document or page.book,
            page.sha256,
            page.dpi,
        )
        for page in manifest.pages
    )
    licences = dict.fromkeys(page.licence for page in manifest.pages if page.licence)
    return Sources(files, manifest.licence or "; ".join(licences), manifest.profile)


def _is_page(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _with_companions(file: Path, name: str) -> Source:
    source = Source(name, file)
    text, boxes = file.with_suffix(".txt"), file.with_suffix(".boxes.json")
    if text.is_file() and text != file:
        source = replace(source, text=text)
    return replace(source, boxes=boxes) if boxes.is_file() else source


def _ids(paths: Sequence[Path]) -> list[str]:
    """Paths without suffix, or with it where two files would be called the same."""
    bare = [path.with_suffix("").as_posix() for path in paths]
    times = Counter(bare)
    return [path.as_posix() if times[name] > 1 else name for path, name in zip(paths, bare, strict=True)]


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEXT_MIB << 20:
            raise PageError(f"{path} is larger than {MAX_TEXT_MIB} MiB, too much for the text of a page")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PageError(f"{path} is not UTF-8 text: convert it") from error
    except OSError as error:
        raise PageError(f"{path} cannot be read: {error.strerror}") from error


def _read_boxes(path: Path) -> tuple[Line, ...]:
    """Lines of `[{"text": ..., "box": [left, top, right, bottom] or four corners}, ...]`."""
    try:
        return tuple(Line(str(line["text"]), box(line["box"])) for line in json.loads(_read_text(path)))
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise PageError(f"{path} is not a list of lines, each with text and box ({error})") from error
