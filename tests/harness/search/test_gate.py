import math
import random
from dataclasses import replace

import pytest

from engines.interface import Line
from harness.accuracy.scores import PageScore, score_page
from harness.bounds import harmed_sets
from harness.objectives import ENERGY, LATENCY, THROUGHPUT, Objective, cost
from harness.search import gate
from harness.search.gate import Judgement
from harness.search.yardstick import page_totals
from harness.values import (
    Block,
    Constraints,
    CounterSample,
    Failure,
    FailureKind,
    Interval,
    Measurement,
    PageRecord,
    ReferencePage,
    TrialResult,
    Variant,
)

TEXT = "the quick brown fox jumps over the lazy dog " * 5
REFERENCES = [ReferencePage(f"p{i}", "s", f"d{i}", TEXT, "default") for i in range(8)]


def measurement(page_s: float, pages: int = 8, wrong: int = 0, rss_mib: float = 100.0) -> Measurement:
    text = "#" * wrong + TEXT[wrong:]
    records = tuple(PageRecord(f"p{i}", (Line(text),), page_s, {}) for i in range(pages))
    return Measurement(1.0, (Block(records, page_s * pages),), (CounterSample(0.1, {"rss_mib": rss_mib}),))


def scores(measured: Measurement) -> list[PageScore]:
    return [score_page(r, p.lines) for r, p in zip(REFERENCES, measured.pages, strict=False)]


def judged(
    outcome: Measurement | Failure, constraints: Constraints | None = None, name: str = "x"
) -> Judgement:
    baseline = measurement(1.0)
    trial = TrialResult(1, Variant(name, "cpu", {}), "search", 0.0, 1.0, outcome)
    read = scores(outcome) if isinstance(outcome, Measurement) else []
    return gate.judge(
        trial, page_totals(baseline, THROUGHPUT), constraints or Constraints(), read, scores(baseline)
    )


def test_speed_is_that_over_the_baseline_on_the_same_pages() -> None:
    assert judged(measurement(0.25, pages=4)).log_speedup == pytest.approx(math.log(4))


def test_equal_text_is_surely_accurate_enough() -> None:
    verdict = judged(measurement(0.5))
    assert verdict.feasible
    assert verdict.likely
    assert verdict.cer_increase == Interval(0.0, 0.0, 0.0)


def test_text_that_is_worse_than_the_margin_is_out() -> None:
    verdict = judged(measurement(0.1, wrong=11))
    assert not verdict.feasible
    assert not verdict.likely
    assert verdict.violations["cer"] == pytest.approx(11 / len(TEXT.strip()) - 0.002, rel=0.02)


def test_a_gain_on_one_set_does_not_hide_what_is_lost_on_another() -> None:
    def scored(books: int, slips: int) -> list[PageScore]:
        plain = scores(measurement(1.0))
        return [
            replace(score, set=name, characters=replace(score.characters, substitutions=errors))
            for half, name, errors in ((plain[:4], "books", books), (plain[4:], "slips", slips))
            for score in half
        ]

    trial = TrialResult(1, Variant("x", "cpu", {}), "search", 0.0, 1.0, measurement(0.1))
    mixed = gate.judge(
        trial, page_totals(measurement(1.0), THROUGHPUT), Constraints(), scored(0, 20), scored(50, 5)
    )
    assert mixed.cer_increase is not None
    assert mixed.cer_increase.high < 0
    assert not mixed.feasible
    assert not mixed.likely
    assert mixed.cer_by_set["books"].high < 0 < mixed.cer_by_set["slips"].low
    doubtful = gate.judge(
        trial, page_totals(measurement(1.0), THROUGHPUT), Constraints(), scored(0, 5)[:5], scored(50, 3)
    )
    assert not doubtful.feasible
    assert doubtful.likely  # of that set it has read one page
    better = gate.judge(
        trial, page_totals(measurement(1.0), THROUGHPUT), Constraints(), scored(0, 5), scored(50, 5)
    )
    assert better.feasible


def test_the_excess_of_cer_is_a_bound_where_every_page_was_read_and_else_an_estimate() -> None:
    baseline = measurement(1.0)
    texts = [TEXT if number % 2 else "#" * 3 + TEXT[3:] for number in range(8)]
    records = tuple(PageRecord(f"p{i}", (Line(text),), 0.1, {}) for i, text in enumerate(texts))
    read = scores(Measurement(1.0, (Block(records, 0.8),), ()))
    trial = TrialResult(1, Variant("x", "cpu", {}), "search", 0.0, 1.0, measurement(0.1))

    def of(pages: int) -> Judgement:
        return gate.judge(
            trial, page_totals(baseline, THROUGHPUT), Constraints(), read[:pages], scores(baseline)
        )

    whole, half = of(8), of(4)
    assert whole.cer_increase is not None
    assert half.cer_increase is not None
    assert half.cer_increase.value == pytest.approx(whole.cer_increase.value)
    assert (whole.share_read, half.share_read) == (1.0, 0.5)
    assert whole.cer_excess == pytest.approx(whole.cer_increase.high - 0.002)
    assert half.cer_excess == pytest.approx(half.cer_increase.value - 0.002)


def test_a_failure_is_the_worst_and_violates() -> None:
    verdict = judged(Failure(FailureKind.CRASH, "open", "died"))
    assert (verdict.log_speedup, verdict.feasible, verdict.likely) == (gate.WORST, False, False)


def test_trials_of_one_variant_are_judged_together() -> None:
    few, all_pages = judged(measurement(0.25, pages=4)), judged(measurement(0.5, wrong=11))
    both = gate.together([few, all_pages])
    assert both.log_speedup == pytest.approx(math.log(2) * 1.5)
    assert both.trials == 2
    assert both.cer_increase == all_pages.cer_increase
    assert not both.feasible
    assert gate.together([few]) == few


def test_a_variant_that_failed_once_has_failed() -> None:
    crash = judged(Failure(FailureKind.CRASH, "read", "died"))
    hang = judged(Failure(FailureKind.TIMEOUT, "read", "still running"))
    for failure in (crash, hang):
        assert gate.together([judged(measurement(0.25)), failure]) == failure


def test_bounds_on_latency_and_memory_are_kept() -> None:
    assert not judged(measurement(0.5), Constraints(max_p95_ms=400)).feasible
    assert judged(measurement(0.5), Constraints(max_p95_ms=600)).feasible
    assert not judged(measurement(0.5, rss_mib=900), Constraints(max_memory_mib=800)).feasible


def test_the_slowest_page_stands_in_for_p99_and_the_fullest_gpu_counts() -> None:
    assert not judged(measurement(0.5), Constraints(max_p99_ms=400)).feasible
    assert judged(measurement(0.5), Constraints(max_p99_ms=600)).feasible
    full = replace(
        measurement(0.5), samples=(CounterSample(0.1, {"gpu0_mem_mib": 100.0, "gpu1_mem_mib": 900.0}),)
    )
    assert judged(full, Constraints(max_gpu_memory_mib=800)).violations["gpu_memory_mib"] == 900 / 800 - 1
    assert judged(full, Constraints(max_gpu_memory_mib=1000)).feasible
    assert judged(measurement(0.5), Constraints(max_gpu_memory_mib=1)).feasible  # no GPU, nothing to bound


def test_the_gain_is_that_of_the_objective() -> None:
    """Twice as fast, but three times the energy, and half the latency again for waiting."""
    base, trial = measurement(1.0), measurement(0.75)
    base = replace(base, blocks=(replace(base.blocks[0], energy_j=40.0),))
    trial = replace(trial, blocks=(replace(trial.blocks[0], wall_s=4.0, energy_j=120.0),))
    result = TrialResult(1, Variant("x", "cpu", {}), "search", 0.0, 1.0, trial)

    def gain(objective: Objective) -> float:
        found = gate.judge(
            result, page_totals(base, objective), Constraints(), scores(trial), scores(base), objective
        )
        return math.exp(found.log_speedup)

    assert gain(THROUGHPUT) == pytest.approx(8 / 4)
    assert gain(cost(3.0)) == pytest.approx(8 / 4)
    assert gain(ENERGY) == pytest.approx(1 / 3)
    assert gain(LATENCY) == pytest.approx(1 / 0.75)


def test_the_incumbent_is_the_fastest_sure_one_else_the_fastest_likely_one() -> None:
    sure, fast_and_bad = judged(measurement(0.5)), judged(measurement(0.1, wrong=11))
    assert gate.incumbent([fast_and_bad, sure]) is sure
    assert gate.incumbent([fast_and_bad]) is None


@pytest.mark.parametrize(
    ("increase", "sets"),
    [
        (Interval(-0.001, -0.004, 0.002), []),
        (Interval(0.001, -0.002, 0.004), []),
        # Much is gained on one set of long texts, which says little about the other.
        (
            Interval(-0.050, -0.080, -0.020),
            [Interval(-0.090, -0.150, -0.030), Interval(-0.002, -0.006, 0.002)],
        ),
        (
            Interval(-0.050, -0.080, -0.020),
            [Interval(-0.090, -0.150, -0.030), Interval(0.006, -0.002, 0.014)],
        ),
        (Interval(-0.050, -0.080, -0.020), [Interval(0.018, 0.010, 0.026)]),
    ],
)
def test_the_chance_of_a_proof_is_how_often_as_many_other_pages_give_one(
    increase: Interval, sets: list[Interval]
) -> None:
    draw = random.Random(0)

    def elsewhere(each: Interval) -> Interval:
        half = (each.high - each.low) / 2
        value = draw.gauss(each.value, math.sqrt(2) * half / 1.96)
        return Interval(value, value - half, value + half)

    proven = 0
    for _ in range(4000):
        others = {str(i): elsewhere(each) for i, each in enumerate(sets)}
        proven += elsewhere(increase).high <= 0.002 and not harmed_sets(others, 0.002)
    assert gate.chance_of_proof(increase, sets, 0.002) == pytest.approx(proven / 4000, abs=0.03)


def test_a_sure_trifle_does_not_lead_where_much_more_is_likely() -> None:
    base = judged(measurement(0.5))
    trifle = replace(base, log_speedup=0.04)
    likely = replace(
        base,
        log_speedup=1.6,
        cer_increase=Interval(-0.05, -0.08, -0.02),
        violations={"cer": 0.01},
        likely=True,
        chance_of_proof=0.5,
    )
    assert trifle.feasible
    assert not likely.feasible
    assert gate.incumbent([trifle, likely]) is likely
    assert gate.incumbent([replace(trifle, log_speedup=0.9), likely]).log_speedup == 0.9  # type: ignore[union-attr]
    assert gate.finalists([trifle, likely], 3) == [likely]
    hopeless = replace(likely, violations={"cer": 0.05}, chance_of_proof=0.01)
    assert gate.incumbent([trifle, hopeless]) is trifle


def test_finalists_are_the_fastest_sure_the_surest_and_the_fastest_likely() -> None:
    def candidate(name: str, log_speedup: float, upper: float) -> Judgement:
        base = judged(measurement(0.5), name=name)
        increase = Interval(0, 0, upper)
        chance = gate.chance_of_proof(increase, (), 0.002)
        missed = {"cer": upper - 0.002}
        return Judgement(base.trial, log_speedup, increase, missed, likely=True, chance_of_proof=chance)

    sure, surest = candidate("sure", 1.0, 0.0018), candidate("surest", 0.5, -0.01)
    bold, slower = candidate("bold", 2.0, 0.02), candidate("slower", -0.1, -0.5)
    chosen = gate.finalists([slower, bold, surest, sure], 3)
    assert chosen == [sure, surest, bold]
    alike = candidate("alike", 0.3, 0.0)
    assert gate.finalists([slower, bold, surest, sure, alike], 3) == [sure, alike, bold]
    safe = replace(sure, chance_of_proof=0.99)
    assert gate.finalists([slower, bold, surest, safe], 3) == [safe, bold, surest]
    assert gate.finalists([slower], 3) == []
    assert gate.finalists([slower], 3, must_be_faster=False) == [slower]
    itself = replace(sure, trial=replace(sure.trial, phase="baseline"), log_speedup=1e-16)
    assert gate.finalists([itself], 3) == []
    assert gate.finalists([sure, sure], 3) == [sure]


def test_where_none_is_sure_the_one_finalist_is_that_which_promises_most() -> None:
    def candidate(name: str, gain: float, value: float, upper: float) -> Judgement:
        base = judged(measurement(0.5), name=name)
        increase = Interval(value, 2 * value - upper, upper)
        chance = gate.chance_of_proof(increase, (), 0.002)
        missed, likely = {"cer": upper - 0.002}, value <= 0.002
        return Judgement(base.trial, math.log(gain), increase, missed, likely, chance_of_proof=chance)

    steady, quick = candidate("steady", 1.07, 0.0012, 0.0025), candidate("quick", 5.8, -0.0004, 0.0040)
    guess = candidate("guess", 13.0, 0.0019, 0.0300)
    assert gate.finalists([steady, quick], 1) == [quick]
    assert gate.finalists([steady, quick, guess], 3) == [quick, guess]
    assert quick.promise > guess.promise > steady.promise > 0
    sure = candidate("sure", 1.8, 0.0, 0.001)
    assert gate.finalists([steady, quick, sure], 1) == [sure]
    assert judged(measurement(0.5)).promise == pytest.approx(math.log(2))


def test_a_finalist_of_other_text_goes_before_a_faster_one_that_would_be_refused_with_another() -> None:
    base = judged(measurement(0.5))

    def candidate(name: str, log_speedup: float, *edits: int) -> Judgement:
        trial = replace(base.trial, variant=Variant(name, "cpu", {}))
        pages = {f"p{page}": more for page, more in enumerate(edits)}
        return replace(base, trial=trial, log_speedup=log_speedup, cer_increase=None, more_edits=pages)

    fastest, near = candidate("fastest", 3.0, 9, 0, -20), candidate("near", 2.9, 8, 1, -20)
    other, slow = candidate("other", 2.0, 0, 6, -5), candidate("slow", 1.0, 0, 0, 0)
    assert gate.finalists([near, fastest, other], 2) == [fastest, other]
    assert gate.finalists([near, fastest], 2) == [fastest, near]
    assert gate.finalists([near, fastest, other, slow], 4) == [fastest, other, slow, near]
    unscored = [replace(j, more_edits={}) for j in (fastest, near, other)]
    assert gate.finalists(unscored, 3) == unscored


def test_what_is_less_sure_and_slower_than_what_reads_alike_is_no_finalist_before_its_equals() -> None:
    base = judged(measurement(0.5))

    def candidate(name: str, log_speedup: float, *edits: int) -> Judgement:
        trial = replace(base.trial, variant=Variant(name, "cpu", {}))
        pages = {f"p{page}": more for page, more in enumerate(edits)}
        return replace(base, trial=trial, log_speedup=log_speedup, more_edits=pages)

    sure, equal = candidate("sure", 1.0, 0, 0), candidate("equal", 0.9, 0, 0)
    other = replace(candidate("other", 0.6, 3, -2), violations={"cer": 0.008}, chance_of_proof=0.1)
    assert other.likely
    assert gate.finalists([sure, equal, other], 2) == [sure, equal]
    assert gate.finalists([sure, equal, replace(other, log_speedup=1.2)], 2)[1].log_speedup == 1.2
