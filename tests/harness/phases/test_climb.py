"""How a ladder's budget is spent, with the measuring itself left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engines.interface import Line, Machine
from harness.measure import Bench
from harness.phases import pool
from harness.phases.climb import Climb
from harness.phases.ladder import Ladder, Rung
from harness.phases.pool import Place
from harness.phases.schedule import Cost
from harness.phases.values import RungResult
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page_s: float = 0.001
) -> tuple[Rehearsal, list[RungResult]]:
    def made_up(bench: Bench, sides: Sequence[Variant], pages: Sequence[int], number: int) -> Round:
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
    climb = Rehearsal(ladder, bench, "cpu", 60.0, page_s=page_s)
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
    assert climb.read == ["00-first", "01-close"]
    assert reasons["last"] == "The budget was spent before this rung."
    assert {result.id for result in found} == set(PAGE_MS)
