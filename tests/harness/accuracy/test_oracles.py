"""Our figures against jiwer and dinglehopper on real pages; every known difference has its test."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

import jiwer
import pytest
from dinglehopper.character_error_rate import character_error_rate_n
from dinglehopper.extracted_text import substitute_equivalences
from dinglehopper.word_error_rate import words_normalized

from harness.accuracy.distances import character_edits, pooled, word_edits
from harness.accuracy.profiles import normalise

Pages = Mapping[str, Sequence[tuple[str, str]]]


def strict(text: str) -> str:
    """The strict profile, written again from its description."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip(" ")


def test_jiwer_agrees_to_the_last_digit_on_every_set_with_the_strict_profile(real_pages: Pages) -> None:
    for pages in real_pages.values():
        references, hypotheses = [strict(r) for r, _ in pages], [strict(h) for _, h in pages]
        characters = jiwer.process_characters(references, hypotheses)
        ours = pooled(character_edits(r, h, "strict") for r, h in pages)
        assert ours.rate == characters.cer
        assert ours.rate > 0.04
        theirs = characters.substitutions, characters.deletions, characters.insertions
        assert (ours.substitutions, ours.deletions, ours.insertions) == theirs
        words = jiwer.process_words(references, hypotheses)
        assert pooled(word_edits(r, h, "strict") for r, h in pages).rate == words.wer


@pytest.mark.parametrize(
    ("name", "pages_per_set"), [("default", 12), ("loose", 2), ("cjk", 2), ("historic", 2)]
)
def test_dinglehopper_agrees_on_real_pages_once_they_are_normalised(
    real_pages: Pages, name: str, pages_per_set: int
) -> None:
    for reference, hypothesis in [page for pages in real_pages.values() for page in pages[:pages_per_set]]:
        ours = character_edits(reference, hypothesis, name)
        rate, length = character_error_rate_n(normalise(reference, name), normalise(hypothesis, name))
        assert (ours.rate, ours.reference_length) == (rate, length)


def test_jiwer_counts_code_points_so_it_differs_where_characters_combine() -> None:
    assert jiwer.cer("q\u0304a", "qa") == 1 / 3 == character_edits("q\u0304a", "qa", "strict").rate
    assert character_edits("q\u0304a", "qa", "default").rate == 1 / 2


def test_jiwer_keeps_line_breaks_and_inner_spaces_as_characters() -> None:
    assert jiwer.cer("a\nb", "a b") == 1 / 3
    assert jiwer.cer("a  b", "a b") == 1 / 4
    assert character_edits("a\nb  c", "a b c", "strict").errors == 0


def test_jiwer_strips_the_ends_as_we_do() -> None:
    assert jiwer.cer(" ab ", "ab") == 0 == character_edits(" ab ", "ab", "strict").errors


def test_jiwer_pools_a_blank_page_into_the_errors_where_we_report_it_apart() -> None:
    assert jiwer.cer(["abcd", ""], ["abcd", "xy"]) == 2 / 4
    assert character_edits("", "xy", "strict").insertions == 2


def test_dinglehopper_keeps_line_breaks_as_characters() -> None:
    assert character_error_rate_n("a\nb", "a b") == (1 / 3, 3)


@pytest.mark.parametrize("text", ["ſchoͤn", "huͤbſch", "maͤr", "it’s", "a—b – c", "ﬁnd ﬂoor oﬃce ĳs ﬆ"])
def test_what_dinglehopper_substitutes_historic_also_unifies(text: str) -> None:
    assert normalise(substitute_equivalences(text), "historic") == normalise(text, "historic")


@pytest.mark.parametrize(
    ("text", "theirs", "ours"),
    [
        (
            "a == b",
            "a – b",
            "a == b",
        ),  # its ground truth writes dashes so; on other pages these are equal signs
        ("\ue8bf", "q&", "\ue8bf"),  # private use characters of one font initiative
        ("“a”", "“a”", '"a"'),
        ("waſſer", "waſſer", "wasser"),
        ("exam-\nple", "exam-\nple", "example"),
    ],
)
def test_where_dinglehopper_and_historic_part(text: str, theirs: str, ours: str) -> None:
    assert substitute_equivalences(text) == theirs
    assert normalise(text, "historic") == ours


def test_dinglehopper_leaves_punctuation_out_of_words() -> None:
    assert list(words_normalized("Hello , world")) == ["Hello", "world"]
    assert word_edits("Hello , world", "Hello world", "default").errors == 1
    assert word_edits("Hello , world", "Hello world", "loose").errors == 0


def test_dinglehopper_cuts_words_at_hyphens_and_between_ideographs() -> None:
    assert list(words_normalized("close-fitting 文字")) == ["close", "fitting", "文", "字"]
    assert word_edits("close-fitting 文字", "", "default").reference_length == 2
