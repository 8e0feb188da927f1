"""A page that remembers what is written where."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from engines.interface import Line
from harness.data.generated.fonts import Family, font
from harness.data.refs import box, joined

Font = ImageFont.FreeTypeFont
Colour = tuple[int, int, int]
Align = Literal["left", "middle", "right"]
Weight = Literal["regular", "bold", "italic"]
BLACK: Colour = (16, 16, 18)
_ANCHORS = {"left": "ls", "middle": "ms", "right": "rs"}


@dataclass(frozen=True, slots=True)
class Style:
    """How one page is set."""

    dpi: int
    family: Family
    size_pt: float
    """Of running text."""
    accent: Colour
    """Of headings, rules and shaded rows."""

    def px(self, millimetres: float) -> int:
        """Millimetres on paper as pixels."""
        return round(millimetres * self.dpi / 25.4)

    def font(self, scale: float = 1.0, weight: Weight = "regular", family: Family | None = None) -> Font:
        """The page's typeface at `scale` times the size of running text."""
        return font(getattr(family or self.family, weight), round(self.size_pt * scale * self.dpi / 72))


class Canvas:
    """A white page. `y` is where the next line begins; lines are recorded in the order of writing."""

    def __init__(self, style: Style, width_mm: float, height_mm: float, margin_mm: float) -> None:
        self.style = style
        self.image = Image.new("RGB", (style.px(width_mm), style.px(height_mm)), "white")
        self.draw = ImageDraw.Draw(self.image)
        self.lines: list[Line] = []
        self.left = style.px(margin_mm)
        self.right = self.image.width - self.left
        self.bottom = self.image.height - self.left
        self.y = self.left

    def text_at(
        self, x: float, baseline: float, text: str, face: Font, *, align: Align = "left", ink: Colour = BLACK
    ) -> None:
        """Write one line on a baseline and record it with the box of its ink."""
        self.draw.text((x, baseline), text, ink, face, _ANCHORS[align])
        extent = self.draw.textbbox((x, baseline), text, face, _ANCHORS[align])
        self.lines.append(Line(text, box(extent)))

    def line(
        self,
        text: str,
        face: Font | None = None,
        align: Align = "left",
        *,
        ink: Colour = BLACK,
        leading: float = 1.3,
    ) -> None:
        """Write one line at `y` between the margins and move below it."""
        face = face or self.style.font()
        x = {"left": self.left, "middle": (self.left + self.right) / 2, "right": self.right}[align]
        self.text_at(x, self.y + face.size, text, face, align=align, ink=ink)
        self.y += round(face.size * leading)

    def row(self, cells: Sequence[tuple[float, str, Align]], face: Font | None = None) -> None:
        """Write cells, each (x, text, align), on one baseline and move below it."""
        face = face or self.style.font()
        for x, text, align in cells:
            self.text_at(x, self.y + face.size, text, face, align=align)
        self.y += round(face.size * 1.3)

    def paragraph(self, text: str, *, face: Font | None = None, leading: float = 1.4) -> None:
        """Write text broken into lines between the margins, as far as the page goes."""
        face = face or self.style.font()
        for words in wrap(text, face, self.right - self.left):
            if not self.room(face.size * leading):
                return
            self.line(" ".join(words), face, leading=leading)

    def justified(self, lines: Sequence[Sequence[str]], left: float, width: float, leading: float) -> None:
        """Write the lines of a paragraph as a column; all but the last are spread to its full width."""
        face = self.style.font()
        for number, words in enumerate(lines):
            inked = sum(face.getlength(word) for word in words)
            natural = face.getlength(" ")
            spread = (width - inked) / max(1, len(words) - 1)
            gap = natural if number == len(lines) - 1 or spread > 3 * natural else spread
            start, x = len(self.lines), left
            for word in words:
                self.text_at(x, self.y + face.size, word, face)
                x += face.getlength(word) + gap
            self._join(start)
            self.y += round(face.size * leading)

    def room(self, height: float) -> bool:
        """Whether `height` more pixels fit above the bottom margin."""
        return self.y + height <= self.bottom

    def skip(self, millimetres: float) -> None:
        """Leave a gap."""
        self.y += self.style.px(millimetres)

    def cut(self) -> None:
        """Cut the paper off below what is on it."""
        self.image = self.image.crop((0, 0, self.image.width, self.y + self.left))

    def rule(self, *, thickness_mm: float = 0.3, ink: Colour | None = None) -> None:
        """Draw a rule between the margins."""
        thickness = max(1, self.style.px(thickness_mm))
        self.draw.rectangle((self.left, self.y, self.right, self.y + thickness), ink or self.style.accent)
        self.y += thickness

    def scribble(self, rng: random.Random, width_mm: float) -> None:
        """Draw something like a signature, which is no text."""
        width, x, points = self.style.px(width_mm), float(self.left), []
        while x < self.left + width:
            points.append((x, self.y + rng.uniform(0, width / 4)))
            x += rng.uniform(-0.03, 0.12) * width
        self.draw.line(points, (28, 36, 110), max(2, self.style.px(0.4)), joint="curve")
        self.y += width // 4

    def _join(self, start: int) -> None:
        """Make one line of those recorded since `start`."""
        parts, self.lines[start:] = self.lines[start:], []
        self.lines.append(joined(parts))


def wrap(text: str, face: Font, width: float) -> list[list[str]]:
    """Break text into lines of words that are at most `width` pixels wide, one word at least."""
    lines: list[list[str]] = []
    room = 0.0
    for word in text.split():
        needed = face.getlength(word) + face.getlength(" ")
        if not lines or needed > room:
            lines.append([])
            room = width + face.getlength(" ")
        lines[-1].append(word)
        room -= needed
    return lines
