"""Rungs side by side: who is read in which round, with the reading itself made up."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engines.interface import Line, Machine
from harness.measure import Bench, Limits, SideFailedError, block_pages
from harness.phases import pool
from harness.phases.ladder import Rung
from harness.phases.pool import Look, Place, Pool, sides_of
from harness.phases.schedule import Cost, Rounds
from harness.phases.values import Quantity, RungResult, RungVerdict
from harness.values import Block, Failure, FailureKind, Interval, PageRecord, Round, Variant
from tests.pages import page_set

MACHINE = Machine("x", 2, 1024)
PAGE_S = 0.1


def variant(engine: str = "x", **settings: int) -> Variant:
    return Variant(engine, "cpu", settings)


BASE = variant(times=100)


def look(name: str, own: Variant, previous: Variant = BASE, quantity: Quantity = Quantity.THROUGHPUT) -> Look:
    rung = Rung(id=name, technique=name, quantity=quantity, settings={"x": {"a": 1}})
    result = RungResult(name, name, "", RungVerdict.INCONCLUSIVE, quantity=quantity)
    return Look(Place(rung, own, previous, BASE, "baseline"), result)


class Reading:
    """Takes `times` hundredths of the usual time over a page; a start takes ten times as long.

    `fails` is told the side and how many rounds it has been in.
    """

    def __init__(self, fails: Callable[[Variant, int], bool] = lambda *_: False) -> None:
        self.rounds: list[tuple[Variant, ...]] = []
        self._fails = fails

    def __call__(
        self, bench: Bench, sides: Sequence[Variant], pages: Sequence[int], number: int, limits: Limits
    ) -> Round:
        self.limits = limits
        self.rounds.append(tuple(sides))
        for place, side in enumerate(sides):
            if self._fails(side, sum(side in others for others in self.rounds)):
                raise SideFailedError(place, Failure(FailureKind.CRASH, "read", "died"))
        size = min(block_pages(sides), len(pages))
        blocks = []
        for side in sides:
            page_s = PAGE_S * int(side.settings.get("times", 100)) / 100
            read = tuple(PageRecord(bench.pages[i].id, (Line("text"),), page_s, {}) for i in pages)
            parts = [read[i : i + size] for i in range(0, len(read), size)]
            blocks.append(tuple(Block(part, page_s * len(part)) for part in parts))
        starts = tuple(10 * blocks[place][0].wall_s / size for place in range(len(sides)))
        return Round(tuple(blocks), starts, ())


@pytest.fixture
def a_pool(tmp_path: Path) -> Pool:
    pages, references = page_set(tmp_path, 8)
    return Pool(Bench(pages, references, tmp_path, MACHINE), {BASE: Cost(1.0, PAGE_S)})


def reading(monkeypatch: pytest.MonkeyPatch, found: Reading) -> Reading:
    monkeypatch.setattr(pool, "interleaved_round", found)
    return found


def test_what_many_are_compared_with_is_read_once_a_round(
    a_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = reading(monkeypatch, Reading())
    fast, faster = variant(times=50), variant(times=25)
    looks = [
        look("fast", fast),
        look("faster", faster, previous=fast),
        look("again", fast),
        look("kept", BASE, quantity=Quantity.FIRST_PAGE),
        look("start", faster, quantity=Quantity.COLD_START),
    ]
    a_pool.measure(looks, 1000.0, most=3)
    assert seen.rounds == [(BASE, fast, faster)] * 3
    gains = {item.result.id: item.result.gain for item in looks}
    values = {name: gain.speedup.value for name, gain in gains.items() if gain}
    assert values == pytest.approx({"fast": 2.0, "faster": 2.0, "again": 2.0, "kept": 10.0, "start": 4.0})
    assert all(gain and len(gain.log_ratios) == 3 for gain in gains.values())
    assert looks[1].result.total is not None
    assert looks[1].result.total.speedup.value == pytest.approx(4.0)
    assert looks[1].result.verdict is RungVerdict.HOLDS
    assert looks[3].result.total is None
    # What takes many times what the pages alone took is a hang.
    assert (seen.limits.start_s, seen.limits.page_s) == (50.0, 12.5)


def test_rounds_end_with_the_time_and_each_is_told(a_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = reading(monkeypatch, Reading())
    a_pool.costs[variant(times=50)] = Cost(1.0, PAGE_S)
    a_pool.measure([look("fast", variant(times=50))], 1.0, most=8)
    assert not seen.rounds
    told: list[tuple[int, float]] = []
    a_pool.progress = lambda rounds, rungs: told.append((rounds, len(rungs)))
    looks = [look("fast", variant(times=50)), look("four", variant(times=50, replicas=4))]
    a_pool.measure(looks, 1000.0, most=2)
    assert [len(item.rounds) for item in looks] == [2, 2]
    assert told == [(1, 2), (2, 2), (3, 2), (4, 2)]


def test_a_rung_that_starts_slowly_has_as_many_rounds_and_the_others_do_not_wait_for_it(
    a_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that the rounds move."""
    now_s = 0.0

    class Slow(Reading):
        def __call__(
            self, bench: Bench, sides: Sequence[Variant], pages: Sequence[int], number: int, limits: Limits
        ) -> Round:
            nonlocal now_s
            now_s += 50.0 if slow in sides else 5.0
            return super().__call__(bench, sides, pages, number, limits)

    slow, quick = variant(times=2000), [variant(times=times) for times in (90, 80)]
    seen = reading(monkeypatch, Slow())
    monkeypatch.setattr("harness.phases.pool.time.perf_counter", lambda: now_s)
    a_pool.costs |= {side: Cost(1.0, PAGE_S) for side in quick} | {slow: Cost(45.0, PAGE_S)}
    looks = [look("slow", slow), *(look(f"quick-{side.id}", side) for side in quick)]
    a_pool.measure(looks, 400.0, most=20)
    rounds = [len(item.rounds) for item in looks]
    assert min(rounds) >= 5
    assert max(rounds) <= 2 * min(rounds)  # what does not fit any more leaves the rest to the others
    assert set(seen.rounds) == {(BASE, slow), (BASE, *quick)}
    assert now_s <= 400.0


def test_rounds_go_on_for_as_long_as_one_more_fits(a_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that the rounds move, by 1 s a start and 0.1 s a page."""
    now_s = 0.0

    class Timed(Reading):
        def __call__(
            self, bench: Bench, sides: Sequence[Variant], pages: Sequence[int], number: int, limits: Limits
        ) -> Round:
            nonlocal now_s
            now_s += len(sides) * (1.0 + PAGE_S * len(pages))
            return super().__call__(bench, sides, pages, number, limits)

    reading(monkeypatch, Timed())
    monkeypatch.setattr("harness.phases.pool.time.perf_counter", lambda: now_s)
    looks = [look(f"x-{i}", variant(replicas=4, other=i)) for i in range(8)]
    a_pool.measure(looks, 300.0, most=40)
    one_more_s = 3 * (1.0 + PAGE_S * looks[0].pages)
    assert 300.0 - 1.2 * one_more_s < now_s <= 300.0
    assert max(len(item.rounds) for item in looks) <= 1 + min(len(item.rounds) for item in looks)


def test_a_round_has_three_sides_at_most(a_pool: Pool) -> None:
    looks = [look(f"x-{times}", variant(times=times)) for times in range(1, 6)]
    assert [len(sides_of(part)) for part in a_pool.parts(looks)] == [3, 3, 2]


def test_only_equal_blocks_of_one_engine_share_a_round(a_pool: Pool) -> None:
    looks = [
        look("fast", variant(times=50)),
        look("four", variant(replicas=4)),
        look("other", variant(engine="y")),
        look("on-fast", variant(times=40), previous=variant(times=50)),
        look("kept", BASE, quantity=Quantity.FIRST_PAGE),
        look("slow", variant(times=200)),
    ]
    parts = [[item.result.id for item in part] for part in a_pool.parts(looks)]
    assert parts == [["fast", "on-fast", "kept"], ["slow"], ["four"], ["other"]]


def test_a_side_that_fails_ends_what_is_compared_with_it_and_the_others_go_on(
    a_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies, lives = variant(times=50), variant(times=25)
    reading(monkeypatch, Reading(lambda side, rounds: side == dies and rounds == 4))
    looks = [look("dies", dies), look("on-it", variant(times=40), previous=dies), look("lives", lives)]
    a_pool.measure(looks, 1000.0, most=6)
    own, above, other = (item.result for item in looks)
    assert (own.verdict, own.reason) == (RungVerdict.FAILED, "crash in read: died.")
    assert above.verdict is RungVerdict.HOLDS
    assert above.reason == "What it is compared with failed: died."
    assert [len(item.rounds) for item in looks] == [3, 3, 6]
    assert other.gain is not None
    assert math.isfinite(other.gain.speedup.high)


def test_a_side_that_always_fails_does_not_go_on_for_ever(
    a_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = reading(monkeypatch, Reading(lambda side, _: side == BASE))
    looks = [look("fast", variant(times=50)), look("faster", variant(times=25))]
    a_pool.measure(looks, 1000.0, most=6)
    assert len(seen.rounds) == 1
    assert {item.result.verdict for item in looks} == {RungVerdict.INCONCLUSIVE}


def test_no_verdict_is_clear_before_every_page_was_read_and_parts_do_not_share_their_pages(
    a_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading(monkeypatch, Reading())
    looks = [look(f"x-{times}", variant(times=times)) for times in range(1, 9)]
    a_pool.measure(looks, 1000.0, most=2)
    assert {item.pages for item in looks} == {4}
    assert not any(map(a_pool.is_unclear, looks))
    few = Pool(a_pool.bench, {BASE: Cost(1.0, PAGE_S)})
    monkeypatch.setattr(pool, "plan_rounds", lambda *_: Rounds(1, 3))
    looks = [look(f"x-{times}", variant(times=times)) for times in range(1, 9)]
    few.measure(looks, 1000.0, most=2)
    assert {item.result.gain.pages for item in looks if item.result.gain} == {6}
    assert all(map(few.is_unclear, looks))


def test_a_close_call_stays_unclear_when_every_page_was_read(
    a_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading(monkeypatch, Reading())
    clear = look("fast", variant(times=50))
    a_pool.measure([clear], 1000.0, most=6)
    assert clear.result.gain is not None
    assert not a_pool.is_unclear(clear)
    gain = replace(clear.result.gain, speedup=Interval(1.08, 1.02, 1.14))
    clear.result = replace(clear.result, gain=gain)
    assert clear.result.verdict is RungVerdict.HOLDS
    assert a_pool.is_unclear(clear)
