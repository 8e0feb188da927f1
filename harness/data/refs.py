"""What a data set is to the rest of the tool: references to pages, not their pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from engines.interface import Box, Line

Profile = Literal["strict", "default", "loose", "cjk", "historic", "markdown"]
PROFILES: tuple[str, ...] = get_args(Profile)
"""Names of the normalisation profiles under which a page's text can be compared."""

Kind = Literal["image", "pdf"]
DEFAULT_DPI = 200


@dataclass(frozen=True, slots=True)
class PageRef:
    """Where one page is, and what is known to be on it."""

    id: str
    """Unique over a run: `set/page`, with `#3` for the third page of a file that has several."""
    set: str
    document: str
    """Pages of one document are not independent: intervals draw documents."""
    path: str
    page_index: int
    """Frame of a TIFF or page of a PDF, from 0."""
    kind: Kind
    text: str | None
    """Ground truth in reading order, None where there is none."""
    profile: str
    language: str
    """ISO 639 code, `mul` for several, empty where unknown."""
    dpi: int = DEFAULT_DPI
    """Resolution at which a PDF page is rendered."""
    boxes: tuple[Line, ...] = ()
    """Lines of the ground truth with their place on the upright page, where known."""

    def to_json(self) -> dict[str, object]:
        """The reference as values that `json` can write."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, also after a trip through a JSON file."""
        lines = tuple(
            Line(line["text"], None if line["box"] is None else box(line["box"]), line["confidence"])
            for line in value["boxes"]
        )
        return cls(**{**value, "boxes": lines})


@dataclass(frozen=True, slots=True)
class DataSet:
    """The pages of one set that can be used."""

    name: str
    pages: tuple[PageRef, ...]
    profile: str
    """The profile of most of its pages; each page has its own."""
    licence: str
    sha256: str
    """Over the bytes of every file and every ground truth, so that runs can tell that they saw the same."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Pages that cannot be used, with the reason."""


def box(corners: Any) -> Box:
    """The box of four (x, y) corners, or of left, top, right, bottom. Raises TypeError or ValueError."""
    if all(isinstance(value, int | float) for value in corners):
        left, top, right, bottom = map(float, corners)
        return ((left, top), (right, top), (right, bottom), (left, bottom))
    a, b, c, d = ((float(x), float(y)) for x, y in corners)
    return (a, b, c, d)


def joined(parts: Sequence[Line]) -> Line:
    """Boxed parts of a line as one: their texts with spaces between, and the upright box around them."""
    xs, ys = zip(*(corner for part in parts for corner in part.box or ()), strict=True)
    return Line(" ".join(part.text for part in parts), box((min(xs), min(ys), max(xs), max(ys))))
