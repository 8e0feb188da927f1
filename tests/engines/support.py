"""Pages that are drawn, complete settings, and what a test knows of an opened engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engines import registry
from engines.interface import Engine, Knob, Machine, Page, PageText, Reader, Setting, StageTimer

ROOT = Path(__file__).parents[2]
MACHINE = Machine("test", cores=2, memory_mib=8192)
LETTER = ("The quick brown fox", "jumps over the lazy dog", "near the river bank")
INVOICE = ("Invoice number 2024", "Total amount 99 dollars")


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine as shipped, what it read on two pages in one call, and how long that took."""

    engine: Engine
    settings: dict[str, Setting]
    reader: Reader
    pages: tuple[Page, Page]
    texts: tuple[PageText, ...]
    stage_s: dict[str, float]
    wall_s: float


def drawn(page_id: str, *lines: str, size: tuple[int, int] = (760, 360)) -> Page:
    """Big black text on white, one line below the other."""
    paper = Image.new("RGB", size, "white")
    font = ImageFont.load_default(size=44)
    for row, line in enumerate(lines):
        ImageDraw.Draw(paper).text((60, 50 + 90 * row), line, fill="black", font=font)
    return Page(page_id, np.asarray(paper))


def loaded(path: Path) -> Page:
    """The page of an image file."""
    return Page(path.stem, np.asarray(Image.open(path).convert("RGB")))


def complete(knobs: Sequence[Knob], **changes: Setting) -> dict[str, Setting]:
    """Every default, with changes, without the knobs whose conditions do not hold."""
    settings = {knob.name: knob.default for knob in knobs} | changes
    idle = {k.name for k in knobs for name, values in k.when.items() if settings[name] not in values}
    return {name: value for name, value in settings.items() if name not in idle}


def read(name: str, pages: Sequence[Page], **changes: Setting) -> list[PageText]:
    """What an engine with its defaults and some changes reads."""
    engine = registry.load(name)
    with engine.open(complete(engine.knobs(MACHINE), **changes), "cpu", StageTimer()) as reader:
        return list(reader.read(pages))


def words(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())
