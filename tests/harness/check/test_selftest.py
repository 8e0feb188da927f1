"""The self-test of the gate: what it counts, and that it measures both kinds."""

from pathlib import Path
from typing import Any

import pytest

from engines.interface import Setting
from harness.check import selftest
from harness.check.gate import Gated
from harness.check.selftest import Canary, SelfTest, self_test
from harness.check.verdicts import Outcome
from harness.errors import UserError
from harness.machine import detect
from harness.measure import Bench
from harness.space import Space
from harness.values import Variant
from tests.pages import page_set

MACHINE = detect()
PASS, REGRESSION, INCONCLUSIVE = Outcome.PASS, Outcome.REGRESSION, Outcome.INCONCLUSIVE


def variant(**settings: Setting) -> Variant:
    return Space.of("scripted", "cpu", MACHINE).variant({"page_ms": 10, **settings})


def bench(folder: Path) -> Bench:
    pages, references = page_set(folder / "pages", 4)
    return Bench(pages, references, folder / "work", MACHINE)


def test_verdicts_are_wrong_in_two_ways() -> None:
    outcomes = {0: (PASS, REGRESSION, PASS), 5: (PASS, REGRESSION, INCONCLUSIVE, PASS, REGRESSION)}
    found = SelfTest(tuple(Canary(pct, out, 8, 1.0) for pct, every in outcomes.items() for out in every))
    assert found.false_verdicts == 1
    assert found.caught == 2
    assert found.missed == 2


def test_a_spent_budget_still_measures_one_of_each_kind_and_gets_neither_wrong(
    scripted: str, tmp_path: Path
) -> None:
    said: list[str] = []
    found = self_test(bench(tmp_path), variant(), budget_s=1, progress=said.append)
    assert [canary.slowdown_pct for canary in found.canaries] == [0, 5]
    assert (found.false_verdicts, found.missed) == (0, 0)
    assert said == ["comparison 1: unchanged", "comparison 2: slowed"]


def test_an_engine_that_cannot_be_measured_is_bad_input(scripted: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot measure scripted: crash during open: .*no such model"):
        self_test(bench(tmp_path), variant(fault="raise_on_open"), budget_s=60)


def test_what_was_compared_before_the_end_is_kept(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = iter([Gated((), 8, 4, 1.0)] * 2)

    def gate(*_: Any, **__: Any) -> Gated:
        if (found := next(compared, None)) is None:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(selftest, "gate", gate)
    found = self_test(bench(tmp_path), variant(), budget_s=600)
    assert len(found.canaries) == 2
    assert found.ended_by == "it was interrupted"
