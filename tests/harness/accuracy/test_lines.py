import random
from collections.abc import Mapping, Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from harness.accuracy.distances import Edits, character_edits
from harness.accuracy.lines import PARAGRAPH_CHARACTERS, Bag, bag_of_words, line_edits

FEW_LINES = st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=4)


def brute_force(reference: list[str], hypothesis: list[str]) -> int:
    """The least edits over all one-to-one matchings, lines without a partner paired with nothing."""
    size = len(reference) + len(hypothesis)
    left = reference + [""] * (size - len(reference))
    right = set(permutations(hypothesis + [""] * (size - len(hypothesis))))
    return min(sum(map(Levenshtein.distance, left, order)) for order in right)


@given(reference=FEW_LINES.filter(lambda lines: len(lines) < 4), hypothesis=FEW_LINES)
def test_lines_are_matched_with_the_fewest_edits(reference: list[str], hypothesis: list[str]) -> None:
    found = line_edits(reference, hypothesis, "strict")
    assert found is not None
    assert found.errors == brute_force(reference, hypothesis)
    assert found.reference_length == len("".join(reference))


def test_a_wrong_order_costs_cer_but_neither_line_cer_nor_recall(
    real_pages: Mapping[str, Sequence[tuple[str, str]]],
) -> None:
    for text, _ in real_pages["fraktur_de"][:5]:
        lines = text.splitlines()
        shuffled = random.Random(1).sample(lines, len(lines))
        assert character_edits(text, "\n".join(shuffled), "strict").rate > 0.3
        matched = line_edits(lines, shuffled, "strict")
        assert matched is not None
        assert matched.errors == 0
        assert bag_of_words(text, "\n".join(shuffled), "strict").recall == 1


def test_missing_and_invented_lines_are_deletions_and_insertions() -> None:
    assert line_edits(["first line", "second"], ["second"], "default") == Edits(0, 10, 0, 16)
    assert line_edits(["second"], ["first line", "second", " "], "default") == Edits(0, 0, 10, 6)
    assert line_edits(["ab", "c"], [], "default") == Edits(0, 3, 0, 3)
    assert line_edits([], ["ab"], "default") == Edits(0, 0, 2, 0)


def test_lines_of_combining_scripts_are_matched_in_grapheme_clusters() -> None:
    assert line_edits(["क्षि", "नम"], ["नम", "क्षी"], "default") == Edits(1, 0, 0, 3)


def test_a_reference_of_paragraphs_has_no_lines_to_match() -> None:
    assert line_edits(["x" * (PARAGRAPH_CHARACTERS + 1)], ["x"], "default") is None
    assert line_edits(["x" * PARAGRAPH_CHARACTERS], ["x"], "default") is not None


def test_a_bag_counts_each_word_as_often_as_both_sides_have_it() -> None:
    bag = bag_of_words("the cat saw the dog", "dog the cow the the", "strict")
    assert bag == Bag(shared=3, reference=5, hypothesis=5)
    assert (bag.recall, bag.precision) == (0.6, 0.6)


def test_a_bag_without_words_is_one_of_characters() -> None:
    assert bag_of_words("文字 列", "列文", "cjk") == Bag(2, 3, 2)


def test_an_empty_bag_is_never_perfect() -> None:
    assert bag_of_words("a", "", "strict").precision == 0
    with pytest.raises(ValueError, match="empty reference"):
        _ = bag_of_words("", "a", "strict").recall
