"""The Optuna study behind the search, on a space that is small enough to know by heart."""

import math
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from sqlalchemy.exc import SQLAlchemyError

from engines.interface import Choice, Knob, Ordered, Setting
from harness.experiments import Experiment
from harness.search.gate import WORST, Judgement
from harness.search.proposals import Proposal, Proposals, settings_of
from harness.search.shared import Company
from harness.space import Space
from harness.values import Failure, FailureKind, Measurement, TrialResult, Variant

KNOBS = (
    Knob("model", "recognise", Choice(("small", "tiny")), "small", "weights"),
    Knob("runtime", "recognise", Choice(("onnx", "vino", "crash")), "onnx", "runtime"),
    Knob("batch", "recognise", Ordered((1, 2, 4, 8, 16)), 16, "batch"),
    Knob("streams", "recognise", Ordered((1, 2, 4)), 1, "streams", when={"runtime": ("vino",)}),
)
SPACE = Space("test", "cpu", KNOBS)


def speed(variant: Variant) -> float:
    s = variant.settings
    return (
        (2.0 if s["model"] == "tiny" else 1.0)
        * (1.5 if s["runtime"] == "vino" else 1.0)
        / (1 + abs(math.log2(float(s["batch"])) - 1) / 4)
        * (1.2 if s.get("streams") == 2 else 1.0)
    )


def judgement(variant: Variant, number: int = 1, trials: int = 1) -> Judgement:
    if variant.settings["runtime"] == "crash":
        outcome: Measurement | Failure = Failure(FailureKind.CRASH, "open", "died")
        trial = TrialResult(number, variant, "search", 0, 1, outcome)
        return Judgement(trial, WORST, None, {"failed": 1.0}, likely=False)
    trial = TrialResult(number, variant, "search", 0, 1, Measurement(1.0, ()))
    return Judgement(trial, math.log(speed(variant)), None, {"cer": -0.001}, likely=True, trials=trials)


def proposals(folder: Path, experiment: Experiment | None = None) -> Proposals:
    storage = f"sqlite:///{folder / 'study.db'}"
    return Proposals(SPACE, experiment or Experiment(), storage, "s", seed=0)


def search(source: Proposals, trials: int) -> list[Judgement]:
    known: list[Judgement] = []
    for number in range(trials):
        best = max(known, key=lambda j: j.log_speedup, default=None)
        proposal = source.ask(best.trial.variant if best else None)
        if proposal is None:
            break
        alike = sum(j.trial.variant == proposal.variant for j in known)
        known.append(judgement(proposal.variant, number, alike + 1))
        source.tell(proposal, known[-1])
    return known


def test_starts_come_first_and_in_order(tmp_path: Path) -> None:
    start: list[dict[str, Setting]] = [{"model": "tiny", "batch": 2}, {"runtime": "vino", "streams": 2}]
    found = search(proposals(tmp_path, Experiment(start=start)), 2)
    assert [j.trial.variant for j in found] == [SPACE.suggested(s) for s in start]


@pytest.mark.parametrize(("excess", "origin"), [(-0.001, "neighbour"), (0.001, "start")])
def test_a_slow_start_is_left_out_beside_a_fast_one_that_is_safe(
    tmp_path: Path, excess: float, origin: str
) -> None:
    fast = SPACE.suggested({"model": "tiny", "runtime": "vino", "batch": 2, "streams": 2})
    source = proposals(tmp_path, Experiment(start=[{"model": "small", "runtime": "onnx", "batch": 8}]))
    slow: list[dict[str, Setting]] = [
        {"batch": 16},
        {"batch": 4},
        {"batch": 16, "runtime": "vino"},
        {"batch": 8, "runtime": "vino"},
    ]
    for number, settings in enumerate(slow):
        source.recall(judgement(SPACE.suggested(settings), number))
    source.recall(replace(judgement(fast, 9), violations={"cer": excess}))
    proposal = source.ask(fast)
    assert proposal is not None
    assert proposal.origin == origin


@pytest.mark.parametrize(
    ("model", "other", "origin"), [("small", "tiny", "start"), ("tiny", "small", "neighbour")]
)
def test_a_start_with_what_is_not_searched_is_tried_unless_it_is_as_shipped(
    tmp_path: Path, model: Setting, other: Setting, origin: str
) -> None:
    fast = SPACE.suggested({"model": model, "runtime": "vino", "batch": 2, "streams": 2})
    searched: dict[str, list[Setting]] = {"runtime": ["onnx", "vino"], "batch": [1, 2, 4, 8, 16]}
    source = proposals(
        tmp_path, Experiment(search=searched, start=[{"model": other, "runtime": "onnx", "batch": 8}])
    )
    slow: list[dict[str, Setting]] = [{"batch": 16}, {"batch": 4}, {"batch": 2}]
    for number, settings in enumerate(slow):
        source.recall(judgement(SPACE.suggested(settings), number))
    source.recall(judgement(fast, 9))
    proposal = source.ask(fast)
    assert proposal is not None
    assert proposal.origin == origin


def test_a_start_with_what_has_taken_too_long_is_left_out(tmp_path: Path) -> None:
    start: list[dict[str, Setting]] = [
        {"runtime": "vino", "batch": 2},
        {"runtime": "vino", "batch": 2, "model": "tiny"},
        {"runtime": "onnx", "batch": 2},  # half of it
    ]
    source = proposals(tmp_path, Experiment(start=start))
    source.recall(judgement(SPACE.variant({}), 0))
    first = source.ask(None)
    assert first is not None
    late = judgement(first.variant)
    outcome = Failure(FailureKind.TIMEOUT, "open", "still building")
    source.tell(
        first, replace(late, trial=replace(late.trial, outcome=outcome), log_speedup=WORST, likely=False)
    )
    second = source.ask(None)
    assert second is not None
    assert (second.origin, second.variant) == ("start", SPACE.suggested(start[2]))


def test_of_what_is_measured_only_rivals_of_the_best_come_again(tmp_path: Path) -> None:
    rivals = {
        SPACE.suggested({"runtime": "vino", "batch": batch}).id: speed
        for batch, speed in ((4, 0.30), (8, 0.29))
    }
    source = proposals(tmp_path)
    times: dict[str, int] = {}
    best = None
    while (proposal := source.ask(best)) and len(times) < 40:
        name = proposal.variant.id
        assert (proposal.origin == "again") == (name in times)
        times[name] = times.get(name, 0) + 1
        known = judgement(proposal.variant, sum(times.values()), times[name])
        source.tell(proposal, replace(known, log_speedup=rivals.get(name, known.log_speedup - 2)))
        best = proposal.variant if best is None or name in rivals else best
    assert set() < {name for name, count in times.items() if count > 1} <= set(rivals)


def test_the_search_finds_the_optimum_of_a_small_space(tmp_path: Path) -> None:
    found = search(proposals(tmp_path), 35)
    best = max(found, key=lambda j: j.log_speedup).trial.variant.settings
    assert best == {"batch": 2, "model": "tiny", "runtime": "vino", "streams": 2}


def test_it_ends_where_the_space_is_exhausted(tmp_path: Path) -> None:
    space = 2 * (5 + 5 + 5 * 3)
    found = search(proposals(tmp_path), 500)
    assert len(found) < 500
    assert 0.8 * space <= len({j.trial.variant.id for j in found}) <= space


def test_a_sampler_that_knows_nothing_new_does_not_end_what_has_a_known_way_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.search.proposals._ATTEMPTS", 0)
    start: list[dict[str, Setting]] = [{"model": "tiny", "batch": 2}]
    assert len(search(proposals(tmp_path, Experiment(start=start)), 12)) == 12


def test_one_value_fixes_a_knob_and_the_unnamed_keep_their_defaults(tmp_path: Path) -> None:
    experiment = Experiment(search={"model": ["tiny"], "runtime": ["onnx", "vino"]})
    found = search(proposals(tmp_path, experiment), 20)
    assert {j.trial.variant.settings["model"] for j in found} == {"tiny"}
    assert {j.trial.variant.settings["batch"] for j in found} == {16}
    assert len({j.trial.variant.id for j in found}) == 2


def test_a_crash_is_told_as_infeasible_and_not_as_a_gap(tmp_path: Path) -> None:
    search(proposals(tmp_path), 30)
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    crashed = [t for t in study.trials if t.params["runtime"] == "crash"]
    assert crashed
    assert all(t.state is optuna.trial.TrialState.COMPLETE for t in crashed)
    assert all(t.value == pytest.approx(WORST) for t in crashed)
    assert all(any(value > 0 for value in t.constraints.values()) for t in crashed)


def test_what_an_earlier_run_measured_is_known(tmp_path: Path) -> None:
    first = search(proposals(tmp_path), 10)
    (tmp_path / "b").mkdir()
    second = proposals(tmp_path / "b")
    for known in first:
        second.recall(known)
    best = max(first, key=lambda j: j.log_speedup).trial.variant
    asked = [proposal for _ in range(10) if (proposal := second.ask(best))]
    known_before = {j.trial.variant.id for j in first}
    assert all((proposal.variant.id in known_before) == (proposal.origin == "again") for proposal in asked)
    assert any(proposal.origin != "again" for proposal in asked)


def test_of_an_open_choice_only_what_is_here_is_searched(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.touch()
    model = Knob("model", "recognise", Choice(("small", "tiny"), open=True), "small", "weights")
    space = Space("test", "cpu", (model, *KNOBS[1:]))
    experiment = Experiment(search={"model": ["tiny", "best", str(own)]})
    found = search(Proposals(space, experiment, f"sqlite:///{tmp_path / 'study.db'}", "s", seed=0), 6)
    assert {judgement.trial.variant.settings["model"] for judgement in found} == {"tiny", str(own)}


def test_what_is_being_measured_is_not_proposed_again(tmp_path: Path) -> None:
    """Several devices ask before anything was told."""
    source = proposals(tmp_path)
    asked = [source.ask(None) for _ in range(12)]
    assert len({proposal.variant.id for proposal in asked if proposal}) == 12


def test_what_ran_out_of_time_is_not_held_against_a_variant(tmp_path: Path) -> None:
    source = proposals(tmp_path, Experiment(search={"model": ["small", "tiny"]}))
    asked = source.ask(None)
    assert asked is not None
    source.drop(asked)
    (trial,) = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}").trials
    assert trial.state is optuna.trial.TrialState.FAIL  # which samplers leave out
    others = {proposal.variant for proposal in (source.ask(None), source.ask(None)) if proposal}
    assert asked.variant in others


def test_a_trial_that_outlives_its_database_is_told_to_the_next_one(tmp_path: Path) -> None:
    """Two devices measure while the database goes away."""

    class Dying(Proposals):
        def tell(self, proposal: Proposal, judgement: Judgement) -> None:
            raise SQLAlchemyError("gone")

    (tmp_path / "shared").mkdir()
    storage = f"sqlite:///{tmp_path / 'shared' / 'study.db'}"
    lost: list[str] = []
    company = Company(
        lambda: Dying(SPACE, Experiment(), storage, "s", seed=0),
        lambda: proposals(tmp_path),
        lambda: lost.append("storage"),
    )
    first, second = company.ask(None), company.ask(None)
    assert first is not None
    assert second is not None
    for number, proposal in enumerate((first, second)):
        company.tell(proposal, judgement(proposal.variant, number))
    assert lost == ["storage"]
    kept = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}").trials
    assert {settings_of(trial) == dict(first.variant.settings) for trial in kept} == {True, False}
    assert len(kept) == 2
