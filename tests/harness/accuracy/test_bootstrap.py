import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.accuracy.bootstrap import (
    cer_increase,
    cer_increase_by_set,
    cer_interval,
    draws_documents,
    ratio_interval,
)
from harness.accuracy.distances import Edits
from harness.accuracy.lines import Bag
from harness.accuracy.scores import PageScore


def page(
    number: int, errors: int, length: int = 1000, *, document: str | None = None, set_: str = "s"
) -> PageScore:
    name = f"p{number}"
    return PageScore(
        name, set_, document or name, Edits(errors, 0, 0, length), None, None, Bag(0, 1, 0), 0, 0
    )


def corpus(rng: np.random.Generator, documents: int, pages: int) -> tuple[list[PageScore], list[PageScore]]:
    """Documents differ in length and in both engines' error rates; the expected increase is 0.01."""
    first: list[PageScore] = []
    second: list[PageScore] = []
    for document in range(documents):
        rate, increase = rng.gamma(2, 0.02), rng.normal(0.01, 0.01)
        for _ in range(pages):
            length, number = int(rng.integers(500, 3000)), len(first)
            errors = int(rng.binomial(length, min(rate, 0.5)))
            first.append(page(number, errors, length, document=f"d{document}"))
            more = int(rng.normal(increase, 0.004) * length)
            second.append(page(number, errors + more, length, document=f"d{document}"))
    return first, second


def coverage(documents: int, *, ignore_documents: bool = False) -> float:
    rng, hits, trials = np.random.default_rng(3), 0, 300
    for _ in range(trials):
        a, b = corpus(rng, documents, pages=6)
        if ignore_documents:
            a, b = ([replace(p, document=p.page_id) for p in side] for side in (a, b))
        interval = cer_increase(a, b, draws=1000)
        hits += interval.low <= 0.01 <= interval.high
    return hits / trials


@pytest.mark.parametrize("documents", [6, 12, 30])
def test_the_interval_holds_the_truth_in_about_95_of_100_corpora(documents: int) -> None:
    assert 0.91 <= coverage(documents) <= 0.985


def two_sets(rng: np.random.Generator) -> tuple[list[PageScore], list[PageScore]]:
    """Four long books that are read better and a dozen slips that are read worse: 80 edits less all in all."""
    first: list[PageScore] = []
    second: list[PageScore] = []
    for name, documents, length, more_edits, sd in (
        ("books", 4, 15_000, -30, 8),
        ("slips", 12, 500, 10 / 3, 2),
    ):
        for more in rng.normal(more_edits, sd, documents).round():
            number = len(first)
            first.append(page(number, length // 10, length, set_=name))
            second.append(page(number, length // 10 + int(more), length, set_=name))
    return first, second


def test_sets_that_are_read_better_and_worse_by_nature_do_not_widen_the_interval() -> None:
    rng, hits, trials, width, mixed_width = np.random.default_rng(4), 0, 300, 0.0, 0.0
    for _ in range(trials):
        sides = two_sets(rng)
        interval = cer_increase(*sides, draws=1000)
        mixed = cer_increase(*([replace(p, set="s") for p in side] for side in sides), draws=1000)
        hits += interval.low <= -80 / 66_000 <= interval.high
        width += interval.high - interval.low
        mixed_width += mixed.high - mixed.low
        assert interval.value == mixed.value
    assert 0.92 <= hits / trials <= 0.985
    assert width < 0.75 * mixed_width


def test_the_lengths_of_documents_do_not_matter_where_a_set_gains_alike() -> None:
    rng, hits, trials, widest = np.random.default_rng(8), 0, 300, 0.0
    for _ in range(trials):
        sides: tuple[list[PageScore], list[PageScore]] = ([], [])
        truth = 0.0
        for name, documents, longest, rate in (("typed", 8, 16_000, -0.07), ("slips", 12, 900, 0.0)):
            for length in rng.integers(longest // 20, longest, documents):
                number, errors = len(sides[0]), int(length * 0.1)
                more = rng.normal(rate, 0.01) * length
                truth += rate * length
                for side, count in zip(sides, (errors, errors + round(more)), strict=True):
                    side.append(page(number, count, int(length), set_=name))
        interval = cer_increase(*sides, draws=1000)
        hits += interval.low <= truth / sum(p.characters.reference_length for p in sides[0]) <= interval.high
        widest = max(widest, interval.high - interval.low)
    assert 0.92 <= hits / trials <= 0.985
    assert widest < 0.035


def test_a_set_of_no_length_is_drawn_with_another() -> None:
    more, lengths = np.array([1.0, 0, 2, 0, 1, 3]), np.array([0.0, 0, 0, 90, 80, 100])
    found = ratio_interval(more, lengths, ["blank"] * 3 + ["text"] * 3)
    assert found == ratio_interval(more, lengths, ["set"] * 6)


def test_each_set_has_its_own_increase_where_there_are_several() -> None:
    a, b = two_sets(np.random.default_rng(7))
    found = cer_increase_by_set(a, [*b[::-1]])
    assert list(found) == ["books", "slips"]
    assert found["books"] == cer_increase(a[:4], b[:4])
    blank = page(99, 0, 0, set_="blank")
    assert cer_increase_by_set([*a, blank], [*b, blank]) == found
    assert not cer_increase_by_set(a[:4], b[:4])


def test_documents_of_very_small_sets_are_drawn_together() -> None:
    rng = np.random.default_rng(6)
    scores = [page(i, int(errors)) for i, errors in enumerate(rng.integers(0, 100, 12))]
    alone = [replace(p, set=f"s{min(i, 2)}") for i, p in enumerate(scores)]  # two sets of one document
    assert cer_interval(alone) == cer_interval(scores)
    apart = [replace(p, set=f"s{i // 6}") for i, p in enumerate(scores)]
    assert cer_interval(apart) != cer_interval(scores)


def test_drawing_pages_of_documents_would_be_overconfident() -> None:
    assert coverage(12, ignore_documents=True) < 0.8


def test_the_interval_agrees_with_scipy_on_many_documents() -> None:
    rng = np.random.default_rng(5)
    scores = [page(i, int(errors)) for i, errors in enumerate(rng.integers(0, 100, 400))]
    rates = np.array([score.characters.rate for score in scores])
    theirs = stats.bootstrap((rates,), np.mean, method="percentile", rng=1).confidence_interval
    ours = cer_interval(scores)
    assert ours.value == pytest.approx(rates.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.01)


def test_a_pairing_cancels_the_difficulty_of_pages() -> None:
    a = [page(i, 10 + 40 * (i % 9)) for i in range(60)]
    b = [page(i, 12 + 40 * (i % 9)) for i in range(60)]
    increase = cer_increase(a, b)
    assert (increase.low, increase.value, increase.high) == pytest.approx((0.002, 0.002, 0.002))
    own = cer_interval(a)
    assert own.high - own.low > 0.04


def test_pages_are_matched_by_name_and_the_result_does_not_depend_on_their_order() -> None:
    a, b = corpus(np.random.default_rng(1), 8, 3)
    assert cer_increase(a, b) == cer_increase(a[::-1], b)
    assert cer_increase(a, b, seed=1) != cer_increase(a, b, seed=2)


def test_sides_that_do_not_match_are_refused() -> None:
    a = [page(i, 1) for i in range(6)]
    for other, message in [
        (a[:5], "same pages"),
        ([*a[:5], page(7, 1)], "same pages"),
        ([*a[:5], page(5, 1, 999)], "different references"),
        ([*a, a[0]], "twice"),
    ]:
        with pytest.raises(ValueError, match=message):
            cer_increase(a, other)
    for nothing in ([], [page(0, 3, 0)]):
        with pytest.raises(ValueError, match="no page has text"):
            cer_increase(nothing, nothing)


def test_blank_pages_take_no_part() -> None:
    a = [page(i, i) for i in range(9)]
    assert cer_interval([*a, page(9, 500, 0)]) == cer_interval(a)


def test_draws_of_blank_pages_alone_do_not_void_the_interval() -> None:
    lengths = np.array([0.0] * 24 + [100.0] * 6)
    found = ratio_interval(np.array([0.0] * 24 + [1.0, 0, 2, 0, 1, 0]), lengths, ["set"] * 30)
    assert found.value == pytest.approx(4 / 600)
    assert found.low <= found.value <= found.high < math.inf


def test_pages_are_drawn_where_documents_are_few() -> None:
    def book(documents: int) -> Sequence[PageScore]:
        return [page(i, 7 * i % 13, document=f"d{i % documents}") for i in range(40)]

    assert not draws_documents(book(1))
    assert not draws_documents(book(4))
    assert draws_documents(book(5))
    assert cer_interval(book(1)) == cer_interval(book(4))
    assert cer_interval(book(1)).low < cer_interval(book(1)).value < cer_interval(book(1)).high


def test_few_pages_take_the_t_interval() -> None:
    ours = cer_interval([page(0, 10), page(1, 30), page(2, 20)])
    theirs = stats.ttest_1samp([0.01, 0.03, 0.02], 0).confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_the_interval_of_a_dozen_documents_is_as_wide_as_the_t_interval() -> None:
    errors = [10, 14, 17, 21, 26, 29, 31, 34, 39, 43, 46, 50]
    ours = cer_interval([page(i, count) for i, count in enumerate(errors)], draws=100_000)
    theirs = stats.ttest_1samp([count / 1000 for count in errors], 0).confidence_interval()
    assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low, rel=0.02)


def test_one_page_says_nothing_of_others() -> None:
    one = cer_increase([page(0, 10)], [page(0, 10)])
    assert (one.low, one.value, one.high) == (-1, 0, 1)
    assert cer_interval([page(0, 10)]).high == 1
