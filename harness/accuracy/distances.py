"""Edit distances of characters and words, with rapidfuzz, and their sums."""

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein
from uniseg.graphemecluster import grapheme_clusters

from harness.accuracy.profiles import normalise, profile

# Code points that never join a neighbour of this set (UAX #29): Latin, Greek, Cyrillic, punctuation,
# currency, symbols, kana, CJK ideographs, Hangul syllables, full-width forms. Other text takes the slow path.
_NEVER_JOIN = re.compile(
    "[\\n -~\u00a0-\u02ff\u0370-\u0482\u048a-\u052f\u1e00-\u1fff\u2010-\u2027\u2030-\u205e\u20a0-\u20c0"
    "\u2100-\u2bff\u2e80-\u3029\u3030-\u3098\u309b-\u4dff\u4e00-\u9fff\uac00-\ud7a3\ufb00-\ufb06\uff00-\uff9d]*"
)


@dataclass(frozen=True, slots=True)
class Edits:
    """A minimal edit script from a reference to a hypothesis, as counts. Sums of it pool pages."""

    substitutions: int
    deletions: int
    insertions: int
    reference_length: int

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors over reference length, unclipped: above 1 where much was invented.

        Raises ValueError where the reference is empty: there is no rate then, and 0 would mean perfect.
        """
        if self.reference_length == 0:
            raise ValueError("no error rate over an empty reference")
        return self.errors / self.reference_length

    def __add__(self, other: "Edits") -> "Edits":
        return Edits(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference_length + other.reference_length,
        )


NO_EDITS = Edits(0, 0, 0, 0)


def pooled(edits: Iterable[Edits]) -> Edits:
    """The sum: its rate is that of the whole corpus. The sum of nothing has no rate."""
    return sum(edits, NO_EDITS)


def graphemes(text: str) -> Sequence[str]:
    """The grapheme clusters of `text`; the text itself where each is one code point, which is far faster."""
    return text if _NEVER_JOIN.fullmatch(text) else list(grapheme_clusters(text))


def characters(text: str, profile_name: str) -> Sequence[str]:
    """What the profile counts as characters of `text`, after normalisation."""
    normal = normalise(text, profile_name)
    return graphemes(normal) if profile(profile_name).graphemes else normal


def edits(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Edits:
    """Edits between two sequences. Of several minimal scripts rapidfuzz picks the one that is counted."""
    script = Levenshtein.editops(reference, hypothesis)
    tags = [operation.tag for operation in script]
    return Edits(tags.count("replace"), tags.count("delete"), tags.count("insert"), len(reference))


def character_edits(reference: str, hypothesis: str, profile_name: str) -> Edits:
    """Edits in characters after normalisation. An empty reference leaves only insertions."""
    return edits(characters(reference, profile_name), characters(hypothesis, profile_name))


def word_edits(reference: str, hypothesis: str, profile_name: str) -> Edits:
    """Edits in words, which whitespace separates, after normalisation.

    Raises ValueError for a profile without words.
    """
    if not profile(profile_name).has_words:
        raise ValueError(f"profile {profile_name!r} has no words")
    return edits(normalise(reference, profile_name).split(), normalise(hypothesis, profile_name).split())
