"""The main loop on the scripted engine: real processes, pages and scores, seconds instead of hours."""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from engines.interface import Setting, Settings
from harness import objectives
from harness.errors import UserError
from harness.experiments import Experiment
from harness.machine import Caution, detect
from harness.outcome import tuned_config
from harness.search import confirm, plan, proving, yardstick
from harness.search.gate import Judgement
from harness.search.record import Record
from harness.search.tuner import Task, Tuner
from harness.space import Space
from harness.store import RunFolder
from harness.values import (
    Comparison,
    Constraints,
    Failure,
    FailureKind,
    Interval,
    Measurement,
    Study,
    TrialResult,
    Variant,
    Verdict,
)
from reports import render
from tests.pages import page_set

MACHINE = detect()


class Silent:
    """A listener that can interrupt the run when a trial of that number begins."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.interrupt_at = interrupt_at

    def phase(self, name: str) -> None: ...

    def trial(self, number: int, variant: Variant, origin: str) -> None:
        if number == self.interrupt_at:
            raise KeyboardInterrupt

    def judged(self, judgement: Judgement, incumbent: Judgement | None) -> None: ...

    def round(self, number: int, rounds: int) -> None: ...


class Killed(Silent):
    """Ends the run as a kill does, or by another exception, when the round of that number begins."""

    def __init__(self, killed_at: int = 0, by: type[BaseException] = SystemExit) -> None:
        super().__init__()
        self.killed_at, self.by = killed_at, by
        self.began: list[int] = []

    def round(self, number: int, rounds: int) -> None:
        self.began.append(number)
        if number == self.killed_at:
            raise self.by


@cache
def enough_s() -> float:
    """A budget for the forty starts of processes that such a run is made of: on some machines they take seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import harness.worker"], check=True)
    return max(17.0, 40 * (time.perf_counter() - began))


def task(folder: Path, experiment: Experiment, budget_s: float | None = None, truth: bool = True) -> Task:
    pages, references = page_set(folder / "pages", 16)
    if not truth:
        references = tuple(replace(reference, text="") for reference in references)
    space = Space.of("scripted", "cpu", MACHINE)
    header = Study(
        id="test",
        created="2026-01-01T00:00:00+00:00",
        engine="scripted",
        device="cpu",
        objective="throughput",
        budget_s=budget_s or enough_s(),
        spent_s=0.0,
        seed=0,
        constraints=Constraints(),
        machine=MACHINE,
        fingerprint="f",
        versions={},
        data=(),
        references=references,
        trials=(),
        comparisons=(),
        best=None,
    )
    return Task(header, pages, space, experiment)


def tuner(folder: Path, work: Task, interrupt_at: int | None = None) -> Tuner:
    return Tuner(work, RunFolder.create(folder / "run"), MACHINE, Silent(interrupt_at))


FAST = Experiment(
    search={"page_ms": [10, 80], "garbled_pct": [0, 10], "fault": ["none", "segfault"]},
    start=[
        {"page_ms": 10, "fault": "segfault"},
        {"page_ms": 10, "garbled_pct": 10},
        {"page_ms": 20, "garbled_pct": 0},
    ],
)


def test_the_fastest_accurate_variant_wins_and_the_crash_is_kept(scripted: str, tmp_path: Path) -> None:
    study = tuner(tmp_path, task(tmp_path, FAST)).run()
    assert study.best is not None
    assert study.best.settings["garbled_pct"] == 0
    assert study.best.settings["page_ms"] in (10, 20)
    crashed = [trial for trial in study.trials if isinstance(trial.outcome, Failure)]
    assert [trial.outcome.kind for trial in crashed if isinstance(trial.outcome, Failure)][:1] == [
        FailureKind.CRASH
    ]
    proof = next(comparison for comparison in study.comparisons if comparison.b == study.best)
    assert proof.verdict is Verdict.FASTER
    assert proof.cer_increase == Interval(0.0, 0.0, 0.0)
    assert study.spent_s < study.budget_s + 2
    read = {
        phase: {
            page.page_id
            for trial in study.trials
            if trial.phase in phases and isinstance(trial.outcome, Measurement)
            for page in trial.outcome.pages
        }
        for phase, phases in {"search": ("baseline", "search"), "confirm": ("confirm",)}.items()
    }
    assert read["confirm"]
    assert not read["search"] & read["confirm"]  # it is proven on pages that the search did not read


@pytest.mark.parametrize(("objective", "rate"), [("latency", None), ("server", 20.0)])
def test_more_pages_a_call_do_not_win_where_every_page_counts(
    scripted: str, tmp_path: Path, objective: str, rate: float | None
) -> None:
    search = Experiment(
        search={"page_ms": [10, 40], "garbled_pct": [0], "fault": ["none"], "replicas": [1]},
        start=[{"page_ms": 10}, {"page_ms": 40, "pages_per_call": 4}],
    )
    work = task(tmp_path, search)
    study = tuner(tmp_path, replace(work, header=replace(work.header, objective=objective, rate=rate))).run()
    assert study.best is not None
    assert study.best.settings["page_ms"] == 10
    proof = next(comparison for comparison in study.comparisons if comparison.b == study.best)
    assert proof.verdict is Verdict.FASTER
    for trial in study.trials:
        if isinstance(trial.outcome, Measurement):
            for block in trial.outcome.blocks:
                began_s = [page.done_s - page.seconds for page in block.pages]
                assert began_s == sorted(began_s)
                assert len({round(at, 4) for at in began_s}) == len(began_s)  # no two pages came together
    config = tuned_config(study)
    assert config is not None
    assert (config.objective, config.rate) == (objective, rate)
    assert objectives.of(study).as_fast in render([study])


def test_a_guess_from_the_hardware_is_tried_after_what_is_bold(scripted: str, tmp_path: Path) -> None:
    guess: Settings = {"page_ms": 15}
    work = replace(task(tmp_path, FAST), guesses=(guess,))
    begun = tuner(tmp_path, work, interrupt_at=len(FAST.start) + 2).run()
    tried = [trial.variant for trial in begun.trials if trial.phase == "search"]
    assert tried == [work.space.suggested(start) for start in (*FAST.start, guess)]


def test_the_proof_is_planned_by_what_the_search_has_measured(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    real = plan.plan_confirmation

    def planned(*costs: Any, **known: Any) -> plan.ConfirmPlan | None:
        told.append(known)
        return real(*costs, **known)

    monkeypatch.setattr(plan, "plan_confirmation", planned)
    monkeypatch.setattr(yardstick, "gain_sd", lambda *_: 0.123)
    monkeypatch.setattr("harness.search.proving.reckoned_sd", lambda _: 0.045)
    with pytest.raises(SystemExit):
        Tuner(task(tmp_path, FAST), RunFolder.create(tmp_path / "run"), MACHINE, Killed(1)).run()
    assert (told[0]["gain_sd"], told[0]["noise_sd"]) == (0.123, 0.045)
    assert told[0]["log_gain"] > 0.3


def test_where_every_faster_variant_ruins_the_text_nothing_is_chosen(scripted: str, tmp_path: Path) -> None:
    ruinous = Experiment(
        search={"page_ms": [10], "garbled_pct": [10], "fault": ["none"]},
        start=[{"page_ms": 10, "garbled_pct": 10}],
    )
    study = tuner(tmp_path, task(tmp_path, ruinous)).run()
    assert study.best is None
    assert len(study.trials) >= 2


def test_a_run_goes_on_after_every_process_was_killed(scripted: str, tmp_path: Path) -> None:
    work = task(tmp_path, FAST)
    begun = tuner(tmp_path, work, interrupt_at=3).run()
    folder = RunFolder.create(tmp_path / "run")
    (folder.root / "trials" / "0003-killed").mkdir()
    folder.study_db.unlink()
    kept = folder.study()
    assert [trial.number for trial in kept.trials] == [0, 1, 2]
    again = Task(replace(work.header, spent_s=kept.spent_s), work.pages, work.space, work.experiment)
    study = tuner(tmp_path, again).run(kept.trials)
    assert study.trials[:3] == begun.trials[:3]
    assert study.best is not None
    ids = [trial.variant.id for trial in study.trials if trial.phase == "search"]
    assert len(ids) == len(set(ids))


def test_a_run_that_is_killed_in_its_proof_goes_on_with_the_rounds_it_has(
    scripted: str, tmp_path: Path
) -> None:
    work = task(tmp_path, FAST)
    folder = RunFolder.create(tmp_path / "run")
    with pytest.raises(SystemExit):
        Tuner(work, folder, MACHINE, Killed(3)).run()
    kept = folder.study()
    searched = [trial.number for trial in kept.trials]
    assert not kept.comparisons
    # What its rounds took counts against the budget.
    assert kept.spent_s > json.loads(folder.proof_json.read_text())["began_s"]
    folder.study_db.unlink()
    again = Task(replace(work.header, spent_s=kept.spent_s), work.pages, work.space, work.experiment)
    listener = Killed()
    study = Tuner(again, folder, MACHINE, listener).run(kept.trials)
    assert listener.began[0] == 3
    assert study.best is not None
    assert all(len(found.log_ratios) == listener.began[-1] for found in study.comparisons)
    assert [trial.number for trial in study.trials if trial.phase != "confirm"] == searched
    assert study.spent_s >= kept.spent_s


def test_a_run_that_is_stopped_in_its_proof_goes_on_with_what_was_judged(
    scripted: str, tmp_path: Path
) -> None:
    work = task(tmp_path, FAST)
    folder = RunFolder.create(tmp_path / "run")
    begun = Tuner(work, folder, MACHINE, Killed(5, KeyboardInterrupt)).run()
    assert begun.best is not None
    assert {len(found.log_ratios) for found in begun.comparisons} == {4}
    folder.study_db.unlink()
    header = replace(work.header, spent_s=begun.spent_s, best=begun.best, comparisons=begun.comparisons)
    listener = Killed()
    study = Tuner(replace(work, header=header), folder, MACHINE, listener).run(begun.trials)
    assert listener.began[0] == 5
    assert [found.b for found in study.comparisons] == [found.b for found in begun.comparisons]
    assert {len(found.log_ratios) for found in study.comparisons} == {listener.began[-1]}
    assert [trial.number for trial in study.trials] == [trial.number for trial in begun.trials]
    for before, after in zip(begun.trials, study.trials, strict=True):
        if before.phase == "confirm":
            assert isinstance(before.outcome, Measurement)
            assert isinstance(after.outcome, Measurement)
            assert len(after.outcome.pages) > len(before.outcome.pages)


@pytest.mark.parametrize("after", ["save_trial", "keep"])
def test_a_run_that_is_killed_while_its_proof_is_judged_keeps_it_once(
    after: str, scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = RunFolder if after == "save_trial" else Record
    real = getattr(owner, after)

    def killed(self: RunFolder | Record, trial: TrialResult) -> None:
        real(self, trial)
        if trial.phase == "confirm":
            raise SystemExit

    work = task(tmp_path, FAST)
    folder = RunFolder.create(tmp_path / "run")
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(owner, after, killed)
        Tuner(work, folder, MACHINE, Silent()).run()
    kept = folder.study()
    assert sum(trial.phase == "confirm" for trial in kept.trials) == 1
    folder.study_db.unlink()
    again = replace(kept, trials=(), spent_s=kept.spent_s)
    listener = Killed()
    study = Tuner(replace(work, header=again), folder, MACHINE, listener).run(kept.trials)
    assert not listener.began  # every round had been read
    assert study.best is not None
    sides = [trial.variant.id for trial in study.trials if trial.phase == "confirm"]
    assert len(sides) == len(set(sides)) == len(study.comparisons) + 1
    assert {found.b.id for found in study.comparisons} | {study.trials[0].variant.id} == set(sides)


def test_an_interrupted_run_leaves_the_best_so_far(scripted: str, tmp_path: Path) -> None:
    study = tuner(tmp_path, task(tmp_path, FAST), interrupt_at=4).run()
    assert Caution.INTERRUPTED.sentence in study.cautions
    assert study.best is not None
    assert study.best.settings["page_ms"] == 20
    assert not study.comparisons


def test_a_baseline_that_fails_once_in_the_proof_keeps_what_it_measured(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = confirm.side_by_side

    def crowded(*works: Any, **told: Any) -> confirm.SideBySide:
        read = real(*works, **told)
        return replace(read, failed=((read.sides[0], Failure(FailureKind.OOM, "open", "no room")),))

    monkeypatch.setattr(proving, "side_by_side", crowded)
    config = tuned_config(tuner(tmp_path, task(tmp_path, FAST)).run())
    assert config is not None
    assert config.evidence is not None


def test_a_run_that_is_stopped_before_anything_is_faster_has_no_best(scripted: str, tmp_path: Path) -> None:
    study = tuner(tmp_path, task(tmp_path, FAST), interrupt_at=1).run()
    assert Caution.INTERRUPTED.sentence in study.cautions
    assert study.best is None


def test_without_ground_truth_the_baseline_is_the_reference(scripted: str, tmp_path: Path) -> None:
    study = tuner(tmp_path, task(tmp_path, FAST, truth=False)).run()
    assert Caution.NO_GROUND_TRUTH.sentence in study.cautions
    assert study.best is not None
    assert study.best.settings["garbled_pct"] == 0
    proof = next(comparison for comparison in study.comparisons if comparison.b == study.best)
    assert proof.cer_increase == Interval(0.0, 0.0, 0.0)  # of pages that the search never saw as well


def test_a_baseline_that_cannot_be_measured_is_said_plainly(scripted: str, tmp_path: Path) -> None:
    work = task(tmp_path, FAST, budget_s=2.0)
    slow = [replace(knob, default=2500) if knob.name == "page_ms" else knob for knob in work.space.knobs]
    space = Space("scripted", "cpu", tuple(slow))
    with pytest.raises(UserError, match="too short to measure scripted as shipped"):
        tuner(tmp_path, Task(work.header, work.pages, space, work.experiment)).run()
    kept = RunFolder.create(tmp_path / "run").study()
    assert [trial.ran_out_of_time for trial in kept.trials] == [True]
    (tmp_path / "run" / "study.db").unlink(missing_ok=True)
    longer = replace(work.header, budget_s=kept.spent_s + 40.0, spent_s=kept.spent_s)
    again = tuner(tmp_path, Task(longer, work.pages, space, work.experiment), interrupt_at=2)
    study = again.run(kept.trials)
    assert study.baseline is not None
    assert (study.baseline.number, study.baseline.variant) == (1, space.variant({}))
    assert study.shipped_failure is None
    assert Caution.STAND_IN.sentence not in study.cautions


def failing_as_shipped(work: Task, start: list[dict[str, Setting]]) -> Task:
    """The same work on an engine that crashes with its defaults."""
    knobs = [replace(knob, default="segfault") if knob.name == "fault" else knob for knob in work.space.knobs]
    space = Space("scripted", "cpu", tuple(knobs))
    return Task(work.header, work.pages, space, work.experiment.model_copy(update={"start": start}))


def test_where_the_engine_as_shipped_crashes_the_last_start_that_works_stands_in(
    scripted: str, tmp_path: Path
) -> None:
    start: list[dict[str, Setting]] = [
        {"fault": "none", "page_ms": 10},
        {"fault": "none", "page_ms": 10, "garbled_pct": 10},
        {"fault": "none", "page_ms": 40},
        {"fault": "raise_on_open"},
    ]
    study = tuner(tmp_path, failing_as_shipped(task(tmp_path, FAST), start)).run()
    tried = [trial for trial in study.trials if trial.phase == "baseline"]
    assert [trial.variant.settings["fault"] for trial in tried] == ["segfault", "raise_on_open", "none"]
    assert study.shipped_failure is not None
    assert study.shipped_failure.kind is FailureKind.CRASH
    assert study.baseline is tried[-1]
    assert study.best is not None
    assert study.best.settings["page_ms"] == 10
    assert study.best.settings["garbled_pct"] == 0
    assert {comparison.a for comparison in study.comparisons} == {tried[-1].variant}
    assert Caution.STAND_IN.sentence in study.cautions
    searched = [trial.variant for trial in study.trials if trial.phase == "search"]
    assert not {trial.variant for trial in tried} & set(searched)
    config = tuned_config(study)
    assert config is not None
    assert config.evidence is not None
    assert config.evidence.shipped_failure is not None
    assert "SIGSEGV" in config.evidence.shipped_failure
    assert config.evidence.baseline_settings == tried[-1].variant.settings
    page = render([study])
    assert "scripted as shipped fails here (crash while warm-up)" in page
    assert "trial 2: boost=false, fault=none, page_ms=40" in page or "trial 2: fault=none, page_ms=40" in page


def test_a_stand_in_that_nothing_beats_is_chosen_because_it_works(scripted: str, tmp_path: Path) -> None:
    slow = Experiment(search={"page_ms": [40], "fault": ["none"]})
    work = failing_as_shipped(task(tmp_path, slow, budget_s=15.0), [{"fault": "none", "page_ms": 5}])
    study = tuner(tmp_path, work).run()
    assert study.baseline is not None
    assert study.baseline.number == 1
    assert study.best == study.baseline.variant
    assert "Settings with which scripted works here" in render([study])


def test_an_engine_that_fails_with_every_start_is_refused_with_its_own_failure(
    scripted: str, tmp_path: Path
) -> None:
    work = failing_as_shipped(task(tmp_path, FAST), [{"fault": "raise_on_open"}])
    with pytest.raises(UserError, match=r"scripted as shipped cannot be measured here \(crash\): .*SIGSEGV"):
        tuner(tmp_path, work).run()
    assert [trial.phase for trial in RunFolder.create(tmp_path / "run").trials()] == ["baseline"] * 2


def test_a_full_disk_loses_nothing_that_was_measured(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = task(tmp_path, FAST)
    running = tuner(tmp_path, work)
    whole = RunFolder.save_trial

    def full(self: RunFolder, trial: object) -> None:
        if getattr(trial, "number", 0) == 2:
            raise OSError(28, "No space left on device")
        whole(self, trial)  # type: ignore[arg-type]

    monkeypatch.setattr(RunFolder, "save_trial", full)
    with pytest.raises(OSError, match="No space left"):
        running.run()
    assert [trial.number for trial in RunFolder.create(tmp_path / "run").trials()] == [0, 1]
    shutil.rmtree(tmp_path / "run")


def test_a_proven_winner_is_taken_over_only_within_the_bounds_of_now(scripted: str, tmp_path: Path) -> None:
    work = task(tmp_path, FAST)
    fast = Variant("scripted", "cpu", {"page_ms": 10})
    one, increase = Interval(0.02, 0.01, 0.03), Interval(0.0005, 0.0, 0.001)
    proof = Comparison(fast, fast, (0.5,) * 3, Interval(3, 2, 4), Verdict.FASTER, one, one, increase, 10)
    header = replace(work.header, best=fast, comparisons=(proof,))
    strict = replace(header, constraints=Constraints(max_cer_increase=0.0005))
    assert tuner(tmp_path, replace(work, header=header)).study().best == fast
    assert tuner(tmp_path, replace(work, header=strict)).study().best is None


def test_a_run_that_goes_on_keeps_the_cautions_that_its_next_end_does_not_decide(
    scripted: str, tmp_path: Path
) -> None:
    work = task(tmp_path, FAST)
    fast = Variant("scripted", "cpu", {"page_ms": 10})
    one, increase = Interval(0.02, 0.01, 0.03), Interval(0.0, -0.001, 0.001)
    proof = Comparison(fast, fast, (0.5,) * 3, Interval(3, 2, 4), Verdict.FASTER, one, one, increase, 10)
    unequal = replace(proof, cer_increase_by_set={"a": Interval(0.004, -0.001, 0.009)})
    ended = tuple(
        caution.sentence
        for caution in (Caution.NOISY, Caution.INTERRUPTED, Caution.UNCONFIRMED, Caution.UNEQUAL_SETS)
    )

    def cautions(found: Comparison) -> tuple[str, ...]:
        header = replace(work.header, best=fast, comparisons=(found,), cautions=ended)
        return tuner(tmp_path, replace(work, header=header)).study().cautions

    assert cautions(proof) == (Caution.NOISY.sentence,)
    assert cautions(unequal) == (Caution.NOISY.sentence, Caution.UNEQUAL_SETS.sentence)


def test_a_run_whose_budget_is_spent_can_be_taken_up_and_ends_at_once(scripted: str, tmp_path: Path) -> None:
    work = task(tmp_path, FAST)
    begun = tuner(tmp_path, work, interrupt_at=4).run()
    RunFolder.create(tmp_path / "run").study_db.unlink()
    spent = replace(work, header=replace(work.header, spent_s=work.header.budget_s, best=begun.best))
    two_tried = tuple(trial for trial in begun.trials if not isinstance(trial.outcome, Failure))
    study = tuner(tmp_path, spent).run(two_tried)
    assert study.trials == two_tried
    assert study.best is None  # what was only in the lead is not proven
    assert Caution.UNCONFIRMED.sentence in study.cautions
    assert Caution.FEW_TRIALS.sentence in study.cautions
