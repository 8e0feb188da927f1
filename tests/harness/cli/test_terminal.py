from dataclasses import replace
from pathlib import Path

from rich.console import Console

from harness.cli.terminal import Display, say
from harness.search.gate import Judgement
from harness.store import RunFolder
from harness.values import Constraints, Interval, Study
from reports import render
from tests.harness.test_outcome import FAST, finished


def said_of(study: Study, folder: Path) -> str:
    console = Console(record=True, width=1000, file=(folder / "screen").open("w", encoding="utf-8"))
    with console.file:
        say(console, study, RunFolder(folder))
        return console.export_text()


def test_what_meets_a_bound_that_the_engine_as_shipped_misses_is_said_to_do_so(tmp_path: Path) -> None:
    """Its pages take 1 s as shipped."""
    run = finished(FAST)
    slower = replace(run.comparisons[0], speedup=Interval(0.97, 0.95, 0.99))
    run = replace(run, comparisons=(slower,), constraints=Constraints(max_p95_ms=700))
    said = said_of(run, tmp_path)
    assert "Within the bounds, which ppocr as shipped misses: 0.97 times as fast (95 % interval 0.95" in said
    assert "Within the bounds, 0.97" in (page := render([run]))
    assert "The baseline misses them" in page


def test_a_fast_finalist_that_was_refused_for_one_set_is_named_with_what_to_do(tmp_path: Path) -> None:
    run = finished(None)
    sets = {"books": Interval(-0.02, -0.03, -0.01), "[slips]": Interval(0.02, 0.01, 0.03)}
    refused = replace(run.comparisons[0], cer_increase_by_set=sets)
    said = said_of(replace(run, comparisons=(refused,)), tmp_path)
    assert "reads [slips] worse: CER +2.00 points (+1.00 to +3.00, at most +0.20 is allowed)" in said
    assert "--max-cer-increase" in said
    assert "More pages may prove it" not in said


def test_a_fast_trial_that_harms_a_set_says_which(tmp_path: Path) -> None:
    run = finished(FAST)
    trial = run.trials[-1]
    gained = Judgement(
        trial,
        2.0,
        Interval(-0.02, -0.03, -0.01),
        {"cer": 0.01},
        likely=False,
        cer_by_set={"books": Interval(-0.05, -0.06, -0.04), "[slips]": Interval(0.012, 0.01, 0.014)},
    )
    console = Console(record=True, width=1000, file=(tmp_path / "screen").open("w", encoding="utf-8"))
    with console.file:
        display = Display(console, 60.0, 0.0, trial.variant)
        display.judged(gained, None)
        display.judged(replace(gained, violations={"cer": -0.001}), None)
        said = console.export_text()
    assert said.count("CER -2.00 points ([slips] +1.20)") == 1
    assert said.count("CER -2.00 points") == 2
