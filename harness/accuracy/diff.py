"""Where two texts differ, for coloured display."""

from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from harness.accuracy.distances import characters


class Change(NamedTuple):
    """A stretch of both texts. `kind` is `equal`, `replace`, `delete` or `insert`."""

    kind: str
    reference: str
    hypothesis: str


def opcodes(reference: str, hypothesis: str, profile_name: str) -> list[Change]:
    """The normalised texts cut into stretches, in order: joined, each side gives its whole text again."""
    expected, found = characters(reference, profile_name), characters(hypothesis, profile_name)
    return [
        Change(
            step.tag,
            "".join(expected[step.src_start : step.src_end]),
            "".join(found[step.dest_start : step.dest_end]),
        )
        for step in Levenshtein.opcodes(expected, found)
    ]
