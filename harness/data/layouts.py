"""Ground truth of public data sets, from their own layouts into lines in reading order.

The parsers are pure: they take what a file holds. `pages_of` walks an unpacked download.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

from engines.interface import Box, Line
from harness.data.refs import Profile, box, joined

_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


@dataclass(frozen=True, slots=True)
class LaidOutPage:
    """One page of a download."""

    id: str
    image: Path
    lines: tuple[Line, ...]
    language: str = "en"
    profile: Profile | None = None
    document: str | None = None


def pages_of(layout: str, folder: Path) -> Iterator[LaidOutPage]:
    """Every page of an unpacked download that has an image.

    Raises ValueError, LookupError or TypeError where the files are not in that layout.
    """
    return _WALKS[layout](folder)


def funsd(annotation: Mapping[str, Any]) -> tuple[Line, ...]:
    """Lines of a FUNSD annotation: `{"form": [{"words": [{"text", "box": [x0, y0, x1, y1]}]}]}`."""
    words = [word for block in annotation["form"] for word in block["words"] if word["text"].strip()]
    return visual_lines([Line(word["text"].strip(), box(word["box"])) for word in words])


def quads(text: str) -> tuple[Line, ...]:
    """Lines of a SROIE or ICDAR 2015 file: `x1,y1,x2,y2,x3,y3,x4,y4,transcript` each.

    A transcript may hold commas. `###` marks what the annotators could not read; it is left out.
    """
    found = []
    for row in text.removeprefix("\ufeff").splitlines():
        *numbers, transcript = row.strip().split(",", 8)
        if len(numbers) == 8 and transcript.strip() not in ("", "###"):
            values = [float(number) for number in numbers]
            found.append(Line(transcript.strip(), box(list(zip(values[::2], values[1::2], strict=True)))))
    return visual_lines(found)


def omnidocbench(page: Mapping[str, Any]) -> tuple[Line, ...] | None:
    """Blocks of one page of OmniDocBench.json in reading order, tables row by row.

    None for a page with formulas: their ground truth is LaTeX, not what is printed. Running heads and feet
    have no `order`: those above the first ordered block come first, the others last.
    """
    blocks = [block for block in page["layout_dets"] if not block.get("ignore")]
    spans = [span for block in blocks for span in block.get("line_with_spans") or ()]
    if any(str(part["category_type"]).startswith("equation") for part in (*blocks, *spans)):
        return None
    ordered = sorted((block for block in blocks if block.get("order") is not None), key=lambda b: b["order"])
    start = ordered[0]["poly"][1] if ordered else 0.0
    loose = sorted((block for block in blocks if block.get("order") is None), key=lambda b: b["poly"][1])
    head = [block for block in loose if block["poly"][1] < start]
    foot = [block for block in loose if block["poly"][1] >= start]
    texts = ((block, _block_text(block)) for block in (*head, *ordered, *foot))
    return tuple(Line(text, _poly(block["poly"])) for block, text in texts if text)


def visual_lines(parts: Sequence[Line]) -> tuple[Line, ...]:
    """Join boxed words or phrases that stand on one line, left to right; lines go from top to bottom.

    Two parts share a line where the centre of each lies within the height of the other.
    """
    rows: list[list[tuple[float, float, float, Line]]] = []
    for left, top, bottom, line in sorted((_extent(part) for part in parts), key=lambda e: e[1] + e[2]):
        centre = (top + bottom) / 2
        for row in rows[-3:]:
            _, last_top, last_bottom, _ = row[-1]
            if top <= (last_top + last_bottom) / 2 <= bottom and last_top <= centre <= last_bottom:
                row.append((left, top, bottom, line))
                break
        else:
            rows.append([(left, top, bottom, line)])
    return tuple(joined([part[3] for part in sorted(row, key=lambda part: part[0])]) for row in rows)


def _extent(line: Line) -> tuple[float, float, float, Line]:
    assert line.box is not None  # noqa: S101 - every layout has boxes
    xs, ys = zip(*line.box, strict=True)
    return min(xs), min(ys), max(ys), line


def _poly(values: Sequence[float]) -> Box:
    return box(list(zip(values[::2], values[1::2], strict=True)))


class _Cells(HTMLParser):
    """The text of an HTML table: one line a row, cells parted by spaces."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = [[]]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.rows[-1].append(data.strip())


def _block_text(block: Mapping[str, Any]) -> str:
    if block["category_type"] == "table" and block.get("html"):
        cells = _Cells()
        cells.feed(block["html"])
        return "\n".join(" ".join(row) for row in cells.rows if row)
    return str(block.get("text") or "").strip()


def _image_beside(folder: Path, stem: str) -> Path | None:
    return next((path for ext in _IMAGES if (path := folder / f"{stem}{ext}").is_file()), None)


def _walk_funsd(folder: Path) -> Iterator[LaidOutPage]:
    for path in sorted(folder.rglob("annotations/*.json")):
        image = _image_beside(path.parent.parent / "images", path.stem)
        if image:
            yield LaidOutPage(path.stem, image, funsd(json.loads(path.read_text(encoding="utf-8"))))


def _walk_sroie(folder: Path) -> Iterator[LaidOutPage]:
    for path in sorted(folder.rglob("annotations/*.txt")):
        image = _image_beside(path.parent.parent / "images", path.stem)
        if image:
            yield LaidOutPage(path.stem, image, quads(_either_encoding(path)))


def _either_encoding(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _walk_icdar2015(folder: Path) -> Iterator[LaidOutPage]:
    images = {path.stem: path for path in folder.rglob("*.jpg")}
    for path in sorted(folder.rglob("gt_img_*.txt")):
        stem = path.stem.removeprefix("gt_")
        if stem in images:
            yield LaidOutPage(stem, images[stem], quads(path.read_text(encoding="utf-8-sig")), document=stem)


_OMNIDOCBENCH_LANGUAGES: dict[str, tuple[str, Profile]] = {
    "english": ("en", "default"),
    "en": ("en", "default"),
    "simplified_chinese": ("zh", "cjk"),
    "en_ch_mixed": ("mul", "cjk"),
}


def omnidocbench_images(folder: Path) -> tuple[str, ...]:
    """Names of the images that an unpacked OmniDocBench needs. Raises ValueError on a name that is a path."""
    names = []
    for page in _omnidocbench_pages(folder):
        name = str(page["page_info"]["image_path"])
        if PurePosixPath(name).name != name or "\\" in name or name in ("", ".", ".."):
            raise ValueError(f"image_path {name!r} is not a file name")
        if omnidocbench(page) is not None:
            names.append(name)
    return tuple(names)


def _omnidocbench_pages(folder: Path) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = json.loads((folder / "OmniDocBench.json").read_text(encoding="utf-8"))
    return pages


def _walk_omnidocbench(folder: Path) -> Iterator[LaidOutPage]:
    for page in _omnidocbench_pages(folder):
        image = folder / "images" / str(page["page_info"]["image_path"])
        lines = omnidocbench(page)
        if lines is not None and image.is_file():
            named = page["page_info"]["page_attribute"]["language"]
            language, profile = _OMNIDOCBENCH_LANGUAGES.get(named, ("mul", "default"))
            yield LaidOutPage(image.stem, image, lines, language, profile)


_WALKS: Mapping[str, Callable[[Path], Iterator[LaidOutPage]]] = {
    "funsd": _walk_funsd,
    "sroie": _walk_sroie,
    "icdar2015": _walk_icdar2015,
    "omnidocbench": _walk_omnidocbench,
}
