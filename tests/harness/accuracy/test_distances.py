import sys
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uniseg.graphemecluster import grapheme_clusters

from harness.accuracy.distances import (
    _NEVER_JOIN,
    Edits,
    character_edits,
    edits,
    graphemes,
    pooled,
    word_edits,
)

SMALL_TEXT = st.text(alphabet="ab\u0301é🇩🇪 \n", max_size=7)


def brute_force(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    @cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        diagonal = distance(i - 1, j - 1) + (reference[i - 1] != hypothesis[j - 1])
        return min(diagonal, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(reference), len(hypothesis))


@given(reference=SMALL_TEXT, hypothesis=SMALL_TEXT)
def test_edits_are_minimal_and_account_for_both_lengths(reference: str, hypothesis: str) -> None:
    sides = graphemes(reference), graphemes(hypothesis)
    found = edits(*sides)
    assert found.errors == brute_force(tuple(sides[0]), tuple(sides[1]))
    assert found.reference_length == len(sides[0])
    assert len(sides[0]) - found.deletions + found.insertions == len(sides[1])


def test_no_code_point_of_the_fast_path_can_join_another() -> None:
    fast = [char for char in map(chr, range(sys.maxunicode + 1)) if _NEVER_JOIN.fullmatch(char)]
    assert len(fast) > 40_000
    text = "".join(fast)
    assert list(grapheme_clusters(text)) == fast
    assert list(grapheme_clusters(text[::-1])) == fast[::-1]


@given(text=st.text(alphabet=st.one_of(st.characters(), st.sampled_from("e\u0301🇩🇪👩\u200d🚀각\u11a8ｶﾞ"))))
def test_the_fast_path_gives_the_same_clusters(text: str) -> None:
    assert list(graphemes(text)) == list(grapheme_clusters(text))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "length"),
    [("क्षि", "क्षी", 1, 1), ("q\u0304a", "qa", 1, 2), ("🇩🇪x", "🇦🇹x", 1, 2), ("e\u0301", "é", 0, 1)],
)
def test_scripts_that_combine_are_counted_in_grapheme_clusters(
    reference: str, hypothesis: str, errors: int, length: int
) -> None:
    found = character_edits(reference, hypothesis, "default")
    assert (found.errors, found.reference_length) == (errors, length)


def test_counts_say_what_kind_of_error_it_was() -> None:
    assert character_edits("abcd", "abxd", "strict") == Edits(1, 0, 0, 4)
    assert character_edits("abcd", "abd", "strict") == Edits(0, 1, 0, 4)
    assert character_edits("abcd", "abccd", "strict") == Edits(0, 0, 1, 4)
    assert word_edits("the quick brown fox", "the quack fox jumps", "strict").errors == 3


def test_an_empty_reference_reports_insertions_and_has_no_rate() -> None:
    invented = character_edits(" \n", "abc", "default")
    assert invented == Edits(0, 0, 3, 0)
    with pytest.raises(ValueError, match="empty reference"):
        _ = invented.rate
    with pytest.raises(ValueError, match="empty reference"):
        _ = pooled([]).rate


def test_rates_are_pooled_by_length_and_not_clipped() -> None:
    assert pooled([Edits(1, 0, 0, 1), Edits(0, 0, 0, 9)]).rate == 0.1
    assert character_edits("a", "abc", "strict").rate == 2.0


def test_words_are_refused_where_the_profile_has_none() -> None:
    with pytest.raises(ValueError, match="no words"):
        word_edits("a", "b", "cjk")
