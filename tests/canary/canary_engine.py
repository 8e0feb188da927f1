"""PP-OCR with planted faults, as a third-party package would bring it: what a regression check must notice."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from engines import ppocr
from engines.interface import Knob, Line, Machine, Ordered, Page, PageText, Reader, Settings, StageTimer

OTHER = "etaoinshrdlu0123456789"
"""What a swapped character becomes."""


def summary() -> str:
    return f"A canary for tests: {ppocr.summary()}"


def packages() -> tuple[str, ...]:
    return ppocr.packages()


def unusable(machine: Machine) -> str | None:
    return ppocr.unusable(machine)


def knobs(machine: Machine) -> tuple[Knob, ...]:
    def planted(name: str, help: str) -> Knob:
        return Knob(name, "postprocess", Ordered((0.0,), high=100.0), 0.0, help, changes_text=True)

    return (
        *ppocr.knobs(machine),
        planted("drop_lines_pct", "share of lines that are lost"),
        planted("swap_characters_pct", "share of characters that are misread"),
        Knob("fault_seed", "postprocess", Ordered((0,), high=10**6), 0, "which ones", changes_text=True),
    )


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator[Reader]:
    with ppocr.open(settings, device, timer) as reader:
        yield _Canary(reader, settings)


class _Canary:
    def __init__(self, reader: Reader, settings: Settings) -> None:
        self._reader = reader
        self._dropped = float(settings["drop_lines_pct"]) / 100
        self._swapped = float(settings["swap_characters_pct"]) / 100
        self._seed = settings["fault_seed"]

    def read(self, pages: Sequence[Page]) -> Sequence[PageText]:
        return [self._faulty(page, text) for page, text in zip(pages, self._reader.read(pages), strict=True)]

    def _faulty(self, page: Page, text: PageText) -> PageText:
        # Drawn anew for each page, so that its faults do not depend on the replica that reads it.
        draw = random.Random(f"{self._seed}/{page.id}")
        kept = [line for line in text.lines if draw.random() >= self._dropped]
        return PageText(tuple(self._misread(line, draw) for line in kept))

    def _misread(self, line: Line, draw: random.Random) -> Line:
        read = (_another(c, draw) if draw.random() < self._swapped else c for c in line.text)
        return replace(line, text="".join(read))


def _another(character: str, draw: random.Random) -> str:
    return draw.choice([other for other in OTHER if other != character])
