from dataclasses import replace
from pathlib import Path

import pytest

from engines.interface import Line
from harness.config import read_config, to_yaml
from harness.figures import over_all_pages
from harness.outcome import harmful, pareto_front, tuned_config, unproven
from harness.values import (
    Block,
    Comparison,
    Interval,
    Measurement,
    PageRecord,
    ReferencePage,
    Study,
    TrialResult,
    Variant,
    Verdict,
)
from tests.harness.test_store import study

BASE, FAST, BOLD = (Variant("ppocr", "cpu", {"side": side}) for side in (3, 2, 1))


def trial(number: int, variant: Variant, phase: str, page_s: float, text: str) -> TrialResult:
    block = Block((PageRecord("s/p", (Line(text),), page_s, {}),), page_s)
    return TrialResult(number, variant, phase, 0.0, 1.0, Measurement(1.0, (block,)))


def finished(best: Variant | None) -> Study:
    one = Interval(0.0, -0.1, 0.1)
    proof = Comparison(BASE, FAST, (0.7, 0.7, 0.7), Interval(2.0, 1.5, 2.5), Verdict.FASTER, one, one, one, 1)
    return study(
        references=(ReferencePage("s/p", "s", "d", "some text", "strict"),),
        trials=(
            trial(0, BASE, "baseline", 1.0, "some text"),
            trial(1, FAST, "search", 0.5, "some text"),
            trial(2, BOLD, "search", 0.25, "same test"),
            trial(3, Variant("ppocr", "cpu", {"side": 9}), "search", 0.6, "same test"),
            trial(4, BASE, "confirm", 1.2, "some text"),
            trial(5, FAST, "confirm", 0.6, "some texx"),
        ),
        comparisons=(proof,),
        best=best,
    )


def test_the_front_holds_what_nothing_beats_on_both() -> None:
    front = pareto_front(finished(FAST))
    assert [(t.variant, rate) for t, rate, _ in front] == [(BOLD, 4.0), (FAST, 2.0)]


def test_the_published_figures_are_those_of_the_confirmation(tmp_path: Path) -> None:
    config = tuned_config(finished(FAST))
    assert config is not None
    assert config.evidence is not None
    assert config.evidence.pages_per_second == pytest.approx(1 / 0.6, rel=1e-3)
    assert config.evidence.baseline_pages_per_second == pytest.approx(1 / 1.2, rel=1e-3)
    assert config.evidence.wer == 0.5
    assert [alternative.settings for alternative in config.alternatives] == [{"side": 1}]
    (tmp_path / "best.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert read_config(tmp_path / "best.yaml") == config


def test_figures_of_two_proofs_are_not_mixed() -> None:
    """The winner of the first proof still stands after a second, in which only others were measured."""
    study = finished(FAST)
    later = [
        replace(trial(number, variant, "confirm", page_s, "some text"), started_s=99.0)
        for number, variant, page_s in ((6, BASE, 5.0), (7, BOLD, 4.0))
    ]
    config = tuned_config(replace(study, trials=(*study.trials, *later)))
    assert config is not None
    assert config.evidence is not None
    assert config.evidence.baseline_pages_per_second == pytest.approx(1 / 1.2, rel=1e-3)


def test_without_a_winner_there_is_no_config() -> None:
    assert tuned_config(finished(None)) is None


def test_a_winner_that_was_not_proven_has_no_evidence() -> None:
    config = tuned_config(replace(finished(FAST), comparisons=()))
    assert config is not None
    assert config.evidence is None


def test_what_more_pages_may_prove_is_fast_and_on_the_best_estimate_accurate() -> None:
    run = finished(None)
    close = run.comparisons[0]
    worse = replace(close, b=BOLD, speedup=Interval(9.0, 8.0, 10.0), cer_increase=Interval(0.1, -0.1, 0.3))
    slower = replace(close, speedup=Interval(0.9, 0.8, 1.0))
    assert unproven(replace(run, comparisons=(worse, slower, close))) == close
    assert unproven(replace(run, comparisons=(worse, slower))) is None


def test_what_reads_one_set_worse_is_refused_and_needs_no_more_pages() -> None:
    run = finished(None)
    better = replace(run.comparisons[0], cer_increase=Interval(-0.01, -0.02, 0.0))
    sets = {"books": Interval(-0.02, -0.03, -0.01), "slips": Interval(0.02, 0.01, 0.03)}
    mixed = replace(better, speedup=Interval(9.0, 8.0, 10.0), cer_increase_by_set=sets)
    assert harmful(replace(run, comparisons=(better, mixed))) == (mixed, "slips")
    assert unproven(replace(run, comparisons=(better, mixed))) == better
    assert harmful(replace(run, comparisons=(better,))) is None


def test_a_trial_of_which_it_was_known_how_it_reads_stands_for_all_pages() -> None:
    def read(number: int, phase: str, note: str = "", **spent_s: float) -> TrialResult:
        pages = tuple(PageRecord(name, (Line(name),), seconds, {}) for name, seconds in spent_s.items())
        outcome = Measurement(1.0, (Block(pages, sum(spent_s.values())),))
        return TrialResult(number, BASE, phase, 0.0, 1.0, outcome, note)

    trials = (
        read(0, "baseline", light=1.0, heavy=3.0),
        read(1, "search", light=0.25),
        read(2, "search", "dropped after 1 pages", light=0.25),
        read(3, "search", unheard_of=0.25),
        read(4, "confirm", light=0.25),
    )
    figures = over_all_pages(replace(finished(FAST), trials=trials))
    assert {number: speed for number, (speed, _) in figures.items()} == {0: 0.5, 1: 2.0}
    assert figures[1][1] is trials[0].outcome
