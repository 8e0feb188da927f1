"""How a ladder's budget is spent, with the measuring itself left out."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from engines.interface import Line, Machine
from harness.measure import Bench, Limits
from harness.phases import pool
from harness.phases.climb import Climb
from harness.phases.ladder import Ladder, Rung
from harness.phases.pool import Place
from harness.phases.schedule import Cost
from harness.phases.values import RungResult, RungVerdict
from harness.values import Block, Failure, FailureKind, Measurement, PageRecord, Round, Variant
from tests.pages import page_set

BASE = Variant("scripted", "cpu", {"page_ms": 80})
PAGE_MS = {"first": 40, "close": 76, "broken": 1, "last": 20}


@dataclass(slots=True)
class Rehearsal(Climb):
    """A climb whose rungs take no time; `broken` reads nothing."""

    page_s: float = 0.001
    """What a page is said to cost."""
    read: list[str] = field(default_factory=list)

    def _place(self, rung: Rung, known: RungResult | None) -> Place | str:
        return Place(rung, Variant("scripted", "cpu", {"page_ms": PAGE_MS[rung.id]}), BASE, BASE, "baseline")

    def _alone(self, variant: Variant, folder: Path) -> Measurement | Failure:
        self.read.append(folder.name)
        if "broken" in folder.name:
            return Failure(FailureKind.CRASH, "open", "died")
        self._costs[variant] = self._costs[BASE] = Cost(self.page_s, self.page_s)
        return Measurement(1.0, ())


def climbed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    page_s: float = 0.001,
    earlier: Sequence[RungResult] = (),
    progress: Callable[[int, Sequence[RungResult]], None] = lambda *_: None,
) -> tuple[Rehearsal, list[RungResult]]:
    def made_up(
        bench: Bench, sides: Sequence[Variant], pages: Sequence[int], number: int, limits: Limits
    ) -> Round:
        blocks = []
        rounds[tuple(sides)] += 1
        for place, side in enumerate(sides):
            # Every other round the sides but the first are slower by a fifth.
            s = int(side.settings["page_ms"]) / 1000 * (1.2 if place and rounds[tuple(sides)] % 2 else 1.0)
            blocks.append(
                (Block(tuple(PageRecord(page.id, (Line("text"),), s, {}) for page in bench.pages), s),)
            )
        return Round(tuple(blocks), (1.0,) * len(sides), ())

    rounds = Counter[tuple[Variant, ...]]()
    monkeypatch.setattr(pool, "interleaved_round", made_up)
    rungs = tuple(Rung(id=name, technique=name, settings={"scripted": {"page_ms": 1}}) for name in PAGE_MS)
    ladder = Ladder(ladder="x", engines=("scripted",), rungs=rungs)
    pages, references = page_set(tmp_path, 4)
    bench = Bench(pages, references, tmp_path, Machine("x", 2, 1024))
    known = {result.id: result for result in earlier}
    climb = Rehearsal(ladder, bench, "cpu", 60.0, earlier=known, progress=progress, page_s=page_s)
    return climb, list(climb.run())


def test_what_is_clear_half_way_leaves_the_time_to_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, found = climbed(tmp_path, monkeypatch)
    rounds = {result.id: len(result.gain.log_ratios) if result.gain else 0 for result in found}
    assert [(result.id, result.verdict.value) for result in found] == [
        ("broken", "failed"),
        ("first", "holds"),
        ("last", "holds"),
        ("close", "none"),
    ]
    assert rounds == {"broken": 0, "first": 8, "last": 8, "close": 24}


def test_a_rung_for_whose_rounds_there_is_no_time_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    climb, found = climbed(tmp_path, monkeypatch, page_s=1.6)
    reasons = {result.id: result.reason for result in found}
    assert climb.read == ["baseline-scripted", "00-first", "01-close"]
    assert reasons["last"] == "The budget has no room for enough rounds of it."
    assert {result.id for result in found} == set(PAGE_MS)


def test_what_an_earlier_run_measured_stands_until_two_rounds_say_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = climbed(tmp_path, monkeypatch)
    earlier = [replace(result, verdict=RungVerdict.INCONCLUSIVE) for result in first if result.gain]
    gains = {result.id: result.gain for result in earlier}
    _, again = climbed(tmp_path, monkeypatch, page_s=1.6, earlier=earlier)
    found = {result.id: (result.verdict.value, result.gain) for result in again}
    assert found["last"] == ("inconclusive", gains["last"])
    assert found["first"] == ("holds", gains["first"])
    assert all(result.is_done for result in again)


def test_what_an_interrupted_run_was_not_through_with_is_measured_again_and_the_rest_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Sequence[RungResult]] = []
    climb, done = climbed(tmp_path, monkeypatch, progress=lambda _, results: told.append(results))
    assert climb.read == ["baseline-scripted", "00-first", "01-close", "02-broken", "03-last"]
    interim = told[10]  # each round is told
    assert {result.id for result in interim if result.verdict is RungVerdict.HOLDS} == {"first", "last"}
    assert not any(result.is_done for result in interim)
    climb, again = climbed(tmp_path, monkeypatch, earlier=interim)
    assert {"00-first", "01-close", "03-last"} < set(climb.read)
    climb, again = climbed(tmp_path, monkeypatch, earlier=done)
    assert climb.read == []
    assert again == sorted(done, key=lambda result: list(PAGE_MS).index(result.id))


def test_a_rung_that_asks_something_else_now_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, done = climbed(tmp_path, monkeypatch)
    climb, _ = climbed(tmp_path, monkeypatch, earlier=[replace(r, claimed=(2.0, 3.0)) for r in done])
    assert len(climb.read) == 1 + len(done)
