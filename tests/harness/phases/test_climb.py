"""How a ladder's budget is spent, with the measuring itself left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from engines.interface import Machine
from harness.measure import Bench
from harness.phases.climb import Climb, _Look, _Place
from harness.phases.ladder import Ladder, Rung
from harness.phases.values import RungResult, RungVerdict
from harness.values import Comparison, Failure, FailureKind, Interval, Round, Variant, Verdict

UNKNOWN = Interval(math.nan, math.nan, math.nan)
RUNGS = ("first", "close", "noisy", "last")


@dataclass(slots=True)
class Rehearsal(Climb):
    """A climb whose rungs take no time; the first look at `noisy` is too short, and `close` is a close call."""

    sees_more: bool = True
    """Whether the second look adds a round."""
    breaks: bool = False
    """Whether the second look ends in a failure."""
    looks: list[tuple[str, float]] = field(default_factory=list)

    def _place(self, rung: Rung, known: RungResult | None) -> _Place | str:
        base, changed = (Variant("scripted", "cpu", {"page_ms": ms}) for ms in (80, 40))
        return _Place(rung, changed, base, base, "baseline")

    def _enough_s(self, place: _Place) -> float:
        return 10.0

    def _measured(self, look: _Look, share_s: float) -> RungResult:
        place = look.place
        is_first_look = place.rung.id not in [name for name, _ in self.looks]
        self.looks.append((place.rung.id, share_s))
        doubtful = place.rung.id == "noisy" and is_first_look
        has_more = is_first_look or self.sees_more
        if has_more:
            look.rounds.append(Round((), (), (0.1,)))
            look.judged_rounds = len(look.rounds)
        gain = Comparison(
            place.previous,
            place.variant,
            (0.1, 0.1),
            Interval(1.1, 1.02 if place.rung.id == "close" else 1.06, 1.15),
            Verdict.FASTER,
            UNKNOWN,
            UNKNOWN,
            UNKNOWN,
            pages=8,
        )
        kind = RungVerdict.INCONCLUSIVE if doubtful else RungVerdict.HOLDS
        if self.breaks and not is_first_look:
            crash = Failure(FailureKind.CRASH, "read", "died")
            return replace(look.result, verdict=RungVerdict.FAILED, failure=crash)
        return replace(look.result, verdict=kind, gain=gain, cold_start_s=1.0)


def climbed(
    tmp_path: Path, budget_s: float, *, sees_more: bool = True, breaks: bool = False
) -> tuple[Rehearsal, Sequence[RungResult]]:
    rungs = tuple(Rung(id=name, technique=name, settings={"scripted": {"page_ms": 40}}) for name in RUNGS)
    ladder = Ladder(ladder="x", engines=("scripted",), rungs=rungs)
    bench = Bench((), (), tmp_path, Machine("x", 2, 1024))
    climb = Rehearsal(ladder, bench, "cpu", budget_s, sees_more=sees_more, breaks=breaks)
    return climb, list(climb.run())


def test_what_is_left_over_goes_to_the_rung_that_was_too_noisy_and_then_to_the_close_call(
    tmp_path: Path,
) -> None:
    climb, found = climbed(tmp_path, 60.0)
    assert [(result.id, result.verdict.value) for result in found] == [
        ("first", "holds"),
        ("close", "holds"),
        ("noisy", "inconclusive"),
        ("last", "holds"),
        ("noisy", "holds"),
        ("close", "holds"),
    ]
    shares = [share_s for _, share_s in climb.looks]
    assert shares[2] == pytest.approx(30.0, abs=1)
    assert shares[4] == pytest.approx(60.0, abs=1)


def test_a_second_look_that_is_the_first_is_not_taken_where_it_is_too_short_for_an_interval(
    tmp_path: Path,
) -> None:
    _, found = climbed(tmp_path, 9.0)
    assert [result.id for result in found] == list(RUNGS)


def test_a_second_look_that_adds_no_round_leaves_what_the_first_gave(tmp_path: Path) -> None:
    climb, found = climbed(tmp_path, 60.0, sees_more=False)
    assert len(climb.looks) == 6
    assert [result.id for result in found] == list(RUNGS)


def test_a_rung_that_breaks_at_the_second_look_is_said_to(tmp_path: Path) -> None:
    _, found = climbed(tmp_path, 60.0, breaks=True)
    assert [(result.id, result.verdict.value) for result in found[len(RUNGS) :]] == [
        ("noisy", "failed"),
        ("close", "failed"),
    ]
