"""Two recognisers in a row: what the first is unsure of, the second reads again."""

from collections.abc import Sequence
from typing import Protocol

from engines.ppocr.ctc import Reading
from engines.ppocr.images import Pixels


class LineReader(Protocol):
    """Reads lines; `engines.ppocr.stages.Recogniser` is one, and so is a cascade."""

    def read(self, crops: list[Pixels]) -> list[Reading]:
        """The reading of each line, in the order of `crops`."""
        ...


class Cascade:
    """A fast reader for every line and a better one for the lines that it is unsure of.

    The second reads all such lines of a call together, so its batches go across pages.
    """

    def __init__(self, first: LineReader, second: LineReader, below: float) -> None:
        self._first, self._second, self._below = first, second, below

    def read(self, crops: list[Pixels]) -> list[Reading]:
        """The reading of each line, in the order of `crops`, each from the reader that had the last word."""
        readings = self._first.read(crops)
        unsure = doubtful(readings, self._below)
        again = self._second.read([crops[index] for index in unsure])
        for index, reading in zip(unsure, again, strict=True):
            readings[index] = reading
        return readings


def doubtful(readings: Sequence[Reading], below: float) -> list[int]:
    """The places of the readings whose weakest characters are less sure than `below`; no text is never sure."""
    return [index for index, reading in enumerate(readings) if reading.weakest < below]
