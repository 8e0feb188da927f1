from collections.abc import Sequence

import pytest

from engines.interface import Line
from harness.accuracy.distances import Edits
from harness.accuracy.scores import METRICS, PageScore, by_set, metrics, score_page, summarise
from harness.values import ReferencePage


def scored(
    text: str, lines: Sequence[str], *, page: str = "p", of: str = "s", profile: str = "strict"
) -> PageScore:
    reference = ReferencePage(page_id=page, set=of, document=page, text=text, profile=profile)
    return score_page(reference, [Line(line) for line in lines])


def test_a_page_is_scored_in_characters_words_and_lines() -> None:
    score = scored("first line\nsecond one", ["second one", "first lime"])
    assert score.characters.errors > 10
    assert score.line_characters == Edits(1, 0, 0, 20)
    assert score.words is not None
    assert score.words.reference_length == 4
    assert (score.bag_recall, score.bag_precision) == (0.75, 0.75)
    assert (score.characters_out, score.lines_out) == (20, 2)


def test_a_page_that_the_engine_failed_on_counts_as_empty_output() -> None:
    failed = scored("abcd efg", [])
    assert failed.characters == Edits(0, 8, 0, 8)
    assert failed.words == Edits(0, 2, 0, 2)
    assert (failed.bag_recall, failed.bag_precision) == (0, 0)
    assert summarise([failed, scored("abcd efg", ["abcd efg"], page="q")]).cer == 0.5


def test_a_summary_pools_sums_and_quantiles_of_pages() -> None:
    pages = [scored("abcdefghi", ["abcdefghi"]), scored("a", ["x"], page="q"), scored("ab", ["ax"], page="r")]
    summary = summarise(pages)
    assert summary.cer == 2 / 12
    assert summary.wer == 2 / 3
    assert summary.line_cer == 2 / 12
    assert summary.bag.recall == 1 / 3
    assert summary.page_cer(0.5) == 0.5
    assert metrics(summary)["cer_p90"] == pytest.approx(0.9)
    assert metrics(summary)["characters_per_page"] == 4


def test_text_invented_on_a_blank_page_is_reported_and_leaves_the_rates_alone() -> None:
    summary = summarise([scored("abcd", ["abcx"]), scored(" ", ["dirt", "x"], page="blank")])
    assert summary.cer == 0.25
    assert summary.inserted_on_blank == 6
    assert summary.pages == 2
    assert metrics(summary)["lines_per_page"] == 1.5


def test_nothing_to_summarise_is_an_error_and_not_a_perfect_score() -> None:
    for summary_of in (summarise, by_set):
        with pytest.raises(ValueError, match="no pages"):
            summary_of([])
    blank = summarise([scored("", ["x"])])
    with pytest.raises(ValueError, match="empty reference"):
        _ = blank.cer
    with pytest.raises(ValueError, match="no page has text"):
        blank.page_cer(0.5)


def test_sets_are_summarised_apart() -> None:
    sets = by_set(
        [
            scored("ab", ["ab"], of="x"),
            scored("ab", ["ac"], of="y"),
            scored("ab", ["ab"], page="q", of="x"),
        ]
    )
    assert {name: (summary.pages, summary.cer) for name, summary in sets.items()} == {
        "x": (2, 0),
        "y": (1, 0.5),
    }


def test_a_set_without_words_or_line_breaks_lacks_those_metrics() -> None:
    cjk = metrics(summarise([scored("文字" * 100, ["文字" * 100], profile="cjk")]))
    assert {name for name, value in cjk.items() if value is None} == {"wer", "line_cer"}
    assert (cjk["cer"], cjk["bag_recall"]) == (0, 1)


def test_metrics_have_unique_names_and_a_direction() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert {metric.better for metric in METRICS} <= {"lower", "higher", "same"}
