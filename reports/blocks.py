"""What a section is made of. Sections return these values; the template knows how each looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from markupsafe import Markup

Mark = Literal["", "baseline", "best", "failed"]


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph."""

    kind: ClassVar[str] = "prose"
    text: str


@dataclass(frozen=True, slots=True)
class Notices:
    """Sentences that the reader must not miss."""

    kind: ClassVar[str] = "notices"
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of an answer: what it is, its value, and how sure or on what."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer first: one line that can be read across a room, one sentence, a few figures."""

    kind: ClassVar[str] = "answer"
    tone: Literal["good", "neutral", "bad"]
    line: str
    sentence: str
    figures: Sequence[Figure] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture with a sentence that says what it shows."""

    kind: ClassVar[str] = "chart"
    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: words, numbers, or `long` text that may wrap."""

    name: str
    kind: Literal["text", "number", "long"] = "text"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table. `mark` names the side that it belongs to, or that it failed."""

    cells: Sequence[str]
    mark: Mark = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first cell of each row is its heading."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Code:
    """Text to copy: commands, or what a program printed."""

    kind: ClassVar[str] = "code"
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks that the reader opens when needed."""

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: "Sequence[Block]"


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of characters of a text difference: `same`, only in the reference, or only in the output."""

    kind: Literal["same", "missing", "added"]
    text: str


@dataclass(frozen=True, slots=True)
class PageDifference:
    """One page: its picture as a data URI, and where the output departs from the reference."""

    kind: ClassVar[str] = "page_difference"
    title: str
    note: str
    image: str | None
    pieces: Sequence[Piece]
    cut: int = 0
    """Characters of reference and output that are not shown."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file: inside the page as a data URI, or beside it under a relative address."""

    name: str
    label: str
    uri: str
    is_inside: bool = True


@dataclass(frozen=True, slots=True)
class Downloads:
    """Files to take away or to look at."""

    kind: ClassVar[str] = "downloads"
    files: Sequence[Download]


Block = Prose | Notices | Answer | Chart | Table | Code | Folded | PageDifference | Downloads


@dataclass(frozen=True, slots=True)
class Panel:
    """The blocks of one run within a section."""

    label: str
    blocks: Sequence[Block]


def text(name: str) -> Column:
    """A column of a few words."""
    return Column(name)


def num(name: str) -> Column:
    """A column of numbers."""
    return Column(name, "number")


def long(name: str) -> Column:
    """A column of sentences or lists."""
    return Column(name, "long")
