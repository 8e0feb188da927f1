"""Runs that ended early, failed or had little to work with still give a page that says so."""

import csv
import io
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

import reports
from harness.machine import Caution
from harness.values import (
    Block,
    Comparison,
    Constraints,
    FailureKind,
    Interval,
    Measurement,
    Study,
    TrialResult,
    Verdict,
)
from tests.reports import factory
from tests.reports.html import sound

UNKNOWN = Interval(math.nan, math.nan, math.nan)


@cache
def small() -> Study:
    return factory.study(trials=10, pages=6)


def no_trials() -> Study:
    return replace(small(), trials=(), comparisons=(), best=None, spent_s=3.0)


def only_failures() -> Study:
    trials = tuple(replace(t, outcome=factory.failure(FailureKind.CRASH)) for t in small().trials)
    return replace(small(), trials=trials, comparisons=(), best=None)


def no_baseline() -> Study:
    trials = tuple(t for t in small().trials if t.variant != factory.BASELINE)
    return replace(small(), trials=trials, comparisons=(), best=None)


def failed_baseline() -> Study:
    first, *rest = (t for t in small().trials if t.phase != "confirm")
    trials = (replace(first, outcome=factory.failure(FailureKind.TIMEOUT)), *rest)
    return replace(small(), trials=trials, comparisons=())


def baseline_only() -> Study:
    return replace(small(), trials=small().trials[:1], comparisons=(), best=factory.BASELINE)


def interrupted() -> Study:
    trials = tuple(t for t in small().trials if t.phase != "confirm")
    return replace(small(), trials=trials, comparisons=(), cautions=("interrupted: stopped before its end",))


def unconfirmed() -> Study:
    return replace(interrupted(), best=None)


def too_strict() -> Study:
    return replace(
        unconfirmed(), constraints=Constraints(max_cer_increase=-1.0, max_p95_ms=1.0, max_memory_mib=1.0)
    )


def not_proven() -> Study:
    return replace(small(), best=None)


def compared(change: Callable[[Comparison], Comparison]) -> Study:
    return replace(small(), comparisons=tuple(map(change, small().comparisons)))


def one_page() -> Study:
    return factory.study(trials=4, pages=1)


def no_ground_truth() -> Study:
    blank = tuple(replace(page, text="") for page in small().references)
    unscored = compared(lambda c: replace(c, cer_a=UNKNOWN, cer_b=UNKNOWN, cer_increase=UNKNOWN))
    return replace(unscored, references=blank)


def blank_pages() -> Study:
    return factory.study(trials=10, pages=6, text="")


def nothing_read() -> Study:
    empty = tuple(replace(t, outcome=Measurement(1.0, ())) for t in small().trials)
    return replace(small(), trials=empty, comparisons=(), best=None)


def blocks_without_time() -> Study:
    def stopped(trial: TrialResult) -> TrialResult:
        if not isinstance(trial.outcome, Measurement):
            return trial
        return replace(
            trial,
            outcome=replace(trial.outcome, blocks=tuple(Block(b.pages, 0.0) for b in trial.outcome.blocks)),
        )

    return replace(small(), trials=tuple(map(stopped, small().trials)), comparisons=(), best=None)


def unknown_pages() -> Study:
    return replace(small(), references=small().references[:2])


CASES: dict[str, tuple[Callable[[], Study], str]] = {
    "no trials": (no_trials, "Nothing could be measured"),
    "only failures": (only_failures, "Nothing could be measured"),
    "no baseline": (no_baseline, "Nothing met the constraints"),
    "failed baseline": (failed_baseline, "Settings found, not confirmed"),
    "baseline only": (baseline_only, "Keep the defaults of ppocr"),
    "interrupted": (interrupted, "the speed, not confirmed"),
    "unconfirmed": (unconfirmed, "Nothing is proven yet"),
    "too strict": (too_strict, "Nothing met the constraints"),
    "not proven": (not_proven, "Nothing beat the defaults for certain"),
    "slower": (lambda: compared(lambda c: replace(c, verdict=Verdict.SLOWER)), "Worse: 4.20× as fast"),
    "same": (lambda: compared(lambda c: replace(c, verdict=Verdict.SAME)), "No better than the defaults"),
    "inconclusive": (lambda: compared(lambda c: replace(c, verdict=Verdict.INCONCLUSIVE)), "not certain"),
    "side failed": (
        lambda: compared(lambda c: replace(c, failure="B (ppocr): oom: out")),
        "The confirmation failed",
    ),
    "two rounds": (
        lambda: compared(lambda c: replace(c, speedup=Interval(4.2, 0.0, math.inf))),
        "Too few rounds for an interval",
    ),
    "no rounds": (lambda: compared(lambda c: replace(c, speedup=UNKNOWN, log_ratios=())), "not confirmed"),
    "one page": (one_page, "4.20× as fast"),
    "no ground truth": (no_ground_truth, "4.20× as fast"),
    "blank pages": (blank_pages, "4.20× as fast"),
    "nothing read": (nothing_read, "Nothing could be measured"),
    "blocks without time": (blocks_without_time, "Nothing could be measured"),
    "unknown pages": (unknown_pages, "4.20× as fast"),
}


@pytest.mark.parametrize(("study", "says"), CASES.values(), ids=CASES)
def test_the_page_is_sound_and_says_first_what_happened(study: Callable[[], Study], says: str) -> None:
    page = sound(reports.render([study()]))
    answer = page.by_id("answer")
    assert answer is not None
    assert says in answer.text
    assert not {"nan", "inf"} & set(answer.text.lower().split())


def test_without_ground_truth_every_error_rate_is_called_drift() -> None:
    study = no_ground_truth()
    page = sound(reports.render([study]))
    text = page.find("main")[0].text
    assert "drift" in text
    assert "CER" not in text
    assert "WER" not in text
    rows = list(csv.DictReader(io.StringIO(reports.trials_csv(study))))
    assert {row["cer"] + row["wer"] for row in rows} == {""}


def test_drift_is_the_distance_to_what_the_baseline_read() -> None:
    truth = small()
    baseline = truth.trials[0].outcome
    assert isinstance(baseline, Measurement)
    own = {page.page_id: page.text for page in baseline.pages}
    named = replace(
        truth,
        references=tuple(replace(page, text=own.get(page.page_id, "")) for page in truth.references),
        cautions=(Caution.NO_GROUND_TRUTH.sentence,),
    )
    blank = replace(truth, references=tuple(replace(page, text="") for page in truth.references), cautions=())
    rows = [
        [row[4] for row in picture.rows()]
        for study in (named, blank)
        if (picture := sound(reports.render([study])).by_id("pareto"))
    ]
    assert rows[0] == rows[1]
    assert "0.00\xa0%" in rows[0]


def test_pages_of_the_search_are_not_called_unseen() -> None:
    study = small()
    seen = study.trials[0].outcome
    trials = tuple(replace(t, outcome=seen) if t.phase == "confirm" else t for t in study.trials)
    page = sound(reports.render([replace(study, trials=trials)]))
    assert "never saw" not in page.find("main")[0].text


def test_a_page_that_the_engine_failed_on_is_a_caution() -> None:
    study = small()

    def broken(trial: TrialResult) -> TrialResult:
        if trial.variant != factory.BEST or not isinstance(trial.outcome, Measurement):
            return trial
        first, *rest = trial.outcome.blocks
        pages = (replace(first.pages[0], lines=(), error="decode failed"), *first.pages[1:])
        return replace(trial, outcome=replace(trial.outcome, blocks=(Block(pages, first.wall_s), *rest)))

    page = sound(reports.render([replace(study, trials=tuple(map(broken, study.trials)))]))
    cautions, worst = page.by_id("cautions"), page.by_id("worst")
    assert cautions is not None
    assert worst is not None
    assert "The engine failed on 1 page" in cautions.text
    assert "100.00\xa0% best" in worst.text
    assert "the engine failed here: decode failed" in worst.text
