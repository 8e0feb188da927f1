"""Scores that do not depend on reading order, so that an order problem is told from a recognition problem.

A page read perfectly but in the wrong order has a high CER, a line-matched CER of 0 and a recall of 1.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist
from scipy.optimize import linear_sum_assignment

from harness.accuracy.distances import Edits, characters, edits, pooled
from harness.accuracy.profiles import normalise, profile

PARAGRAPH_CHARACTERS = 160
"""A longer reference line is no printed line but a paragraph: the reference did not keep its line breaks."""


@dataclass(frozen=True, slots=True)
class Bag:
    """Words that two texts share, in any order and as often as both have them."""

    shared: int
    reference: int
    hypothesis: int

    @property
    def recall(self) -> float:
        """Share of the reference's words that were read. Raises ValueError for an empty reference."""
        if self.reference == 0:
            raise ValueError("no recall of an empty reference")
        return self.shared / self.reference

    @property
    def precision(self) -> float:
        """Share of the words read that are in the reference; 0 where nothing was read."""
        return self.shared / self.hypothesis if self.hypothesis else 0.0

    def __add__(self, other: "Bag") -> "Bag":
        return Bag(
            self.shared + other.shared, self.reference + other.reference, self.hypothesis + other.hypothesis
        )


NO_WORDS = Bag(0, 0, 0)


def bag_of_words(reference: str, hypothesis: str, profile_name: str) -> Bag:
    """The shared words after normalisation; the shared characters for a profile without words."""
    sides = [Counter(_tokens(text, profile_name)) for text in (reference, hypothesis)]
    return Bag((sides[0] & sides[1]).total(), sides[0].total(), sides[1].total())


def line_edits(reference: Sequence[str], hypothesis: Sequence[str], profile_name: str) -> Edits | None:
    """Edits in characters with each reference line matched to at most one line that was read.

    The matching is the one with the fewest edits in all (Hungarian algorithm); a line without a partner is
    deleted or inserted. None where the reference does not keep its line breaks.
    """
    expected = _lines(reference, profile_name)
    if any(len(line) > PARAGRAPH_CHARACTERS for line in expected):
        return None
    found = _lines(hypothesis, profile_name)
    pairs = _matching(expected, found)
    matched = [edits(expected[i], found[j]) for i, j in pairs.items()]
    deleted = [edits(line, "") for i, line in enumerate(expected) if i not in pairs]
    inserted = [edits("", line) for j, line in enumerate(found) if j not in set(pairs.values())]
    return pooled([*matched, *deleted, *inserted])


def _matching(expected: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> dict[int, int]:
    """Partners by index. A pair saves the cost of deleting and inserting its lines, less its distance."""
    if not expected or not found:
        return {}
    distances = cdist(expected, found, scorer=Levenshtein.distance, dtype=np.int32)
    alone = np.add.outer([len(line) for line in expected], [len(line) for line in found])
    rows, columns = linear_sum_assignment(distances - alone)
    return dict(zip(rows.tolist(), columns.tolist(), strict=True))


def _lines(lines: Sequence[str], profile_name: str) -> list[Sequence[str]]:
    split = (part for line in lines for part in line.splitlines())
    return [line for line in (characters(part, profile_name) for part in split) if line]


def _tokens(text: str, profile_name: str) -> Sequence[str]:
    if profile(profile_name).has_words:
        return normalise(text, profile_name).split()
    return characters(text, profile_name)
