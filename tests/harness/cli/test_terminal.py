from dataclasses import replace
from pathlib import Path

from rich.console import Console

from harness.cli.terminal import say
from harness.store import RunFolder
from harness.values import Interval
from tests.harness.test_outcome import finished


def test_a_fast_finalist_that_was_refused_for_one_set_is_named_with_what_to_do(tmp_path: Path) -> None:
    run = finished(None)
    sets = {"books": Interval(-0.02, -0.03, -0.01), "[slips]": Interval(0.02, 0.01, 0.03)}
    refused = replace(run.comparisons[0], cer_increase_by_set=sets)
    console = Console(record=True, width=1000, file=(tmp_path / "screen").open("w", encoding="utf-8"))
    with console.file:
        say(console, replace(run, comparisons=(refused,)), RunFolder(tmp_path))
        said = console.export_text()
    assert "reads [slips] worse: CER +2.00 points (+1.00 to +3.00, at most +0.20 is allowed)" in said
    assert "--max-cer-increase" in said
    assert "More pages may prove it" not in said
