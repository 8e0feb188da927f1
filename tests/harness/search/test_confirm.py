from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from engines.interface import Machine
from harness.measure import Bench, Limits, SideFailedError
from harness.search import underway
from harness.search.confirm import SideBySide, best_of, side_by_side, winner
from harness.search.lab import Lab
from harness.search.plan import ConfirmPlan
from harness.search.underway import Underway
from harness.values import (
    Block,
    Comparison,
    Constraints,
    Failure,
    FailureKind,
    Interval,
    PageRecord,
    Round,
    Variant,
    Verdict,
)


def comparison(name: str, low: float, cer_high: float) -> Comparison:
    a, b = Variant("base", "cpu", {}), Variant(name, "cpu", {})
    one = Interval(0.02, 0.01, 0.03)
    cer = Interval(cer_high / 2, 0.0, cer_high)
    return Comparison(a, b, (0.5,) * 3, Interval(low + 1, low, low + 2), Verdict.FASTER, one, one, cer, 10)


def test_the_winner_is_the_fastest_among_the_surely_faster_and_accurate() -> None:
    bold, sure, slower = comparison("bold", 9, 0.01), comparison("sure", 3, 0.001), comparison("slow", 2, 0.0)
    assert best_of([bold, slower, sure], 0.002) == sure.b
    lucky = replace(slower, speedup=Interval(3.5, 3.49, 3.51))  # three rounds that happened to be alike
    assert best_of([lucky, sure], 0.002) == sure.b
    slow = comparison("slow", 0.9, 0.0)
    assert best_of([slow], 0.002) is None
    assert best_of([slow, bold], 0.002, must_be_faster=False) == slow.b
    assert best_of([bold], 0.002) is None
    assert best_of([], 0.002) is None


def test_a_finalist_that_surely_reads_one_set_worse_does_not_win() -> None:
    found = comparison("mixed", 9, 0.0)

    def best(slips: Interval) -> Variant | None:
        sets = {"books": Interval(-0.05, -0.07, -0.03), "slips": slips}
        return best_of([replace(found, cer_increase_by_set=sets)], 0.002)

    assert best(Interval(0.02, 0.0001, 0.04)) is None
    assert best(Interval(0.02, -0.0001, 0.04)) == found.b  # perhaps worse
    assert best(Interval(0.001, 0.0005, 0.0015)) == found.b  # worse by less than the margin


def read_beside(*finalists: Comparison, peaks: tuple[float, ...] = ()) -> SideBySide:
    """Three rounds would do as well as this one: what is asked of them is their sides and peaks."""
    block = (Block((PageRecord("p", (), 1.0, {}),), 1.0),)
    sides = len(finalists) + 1
    one = Round((block,) * sides, (1.0,) * sides, (2.0,) * len(finalists), peaks or (100.0,) * sides)
    return SideBySide((finalists[0].a, *(found.b for found in finalists)), (one,))


def test_a_finalist_that_needs_too_much_memory_in_the_rounds_does_not_win() -> None:
    large, small = comparison("large", 9, 0.0), comparison("small", 3, 0.0)
    read = read_beside(large, small, peaks=(100.0, 900.0, 300.0))
    assert winner(read, (large, small), Constraints()) == large.b
    assert winner(read, (large, small), Constraints(max_memory_mib=500)) == small.b


def test_what_was_proven_before_stands_until_something_better_is_or_it_fails_itself() -> None:
    standing = comparison("standing", 3, 0.0)
    better, worse, inaccurate = (
        comparison("new", 4, 0.0),
        comparison("new", 2, 0.0),
        comparison("new", 4, 0.1),
    )
    bounds = Constraints()
    assert winner(read_beside(worse), (worse,), bounds, standing) == standing.b
    assert winner(read_beside(inaccurate), (inaccurate,), bounds, standing) == standing.b
    assert winner(read_beside(better), (better,), bounds, standing) == better.b
    refuted = comparison("standing", 0.9, 0.0)
    assert winner(read_beside(refuted), (refuted,), bounds, standing) is None


@dataclass
class Rehearsed:
    """A laboratory where a page takes 2.5 s; `dies` holds the variant that fails in a round, by its number."""

    dies: Mapping[int, Variant] = field(default_factory=dict)
    left_s: float = 1000.0
    of: FailureKind = FailureKind.CRASH
    starts_s: Mapping[Variant, float] = field(default_factory=dict)
    begins: Callable[[], None] = lambda: None
    rounds: list[tuple[tuple[Variant, ...], list[int]]] = field(default_factory=list)

    def interleaved_round(
        self, bench: Bench, variants: Sequence[Variant], pages: Sequence[int], number: int, limits: Limits
    ) -> Round:
        self.rounds.append((tuple(variants), list(pages)))
        self.begins()
        self.left_s -= 2.5 * len(pages) * len(variants) + sum(self.starts_s.values())
        if dead := self.dies.get(number):
            raise SideFailedError(variants.index(dead), Failure(self.of, "open", "no room"))
        # Each side's figures carry its name, for what is dropped to be seen.
        blocks = tuple(
            (Block((PageRecord(v.id, (), 1.0, {}),) * len(pages), 2.5 * len(pages)),) for v in variants
        )
        names = [int(v.id[:4], 16) / 1e9 for v in variants]
        starts_s = tuple(self.starts_s.get(v, name) for v, name in zip(variants, names, strict=True))
        return Round(blocks, starts_s, tuple(names[1:]), tuple(names))


BASE, FIRST, SECOND, THIRD = (Variant(name, "cpu", {}) for name in ("base", "first", "second", "third"))


def proof(
    lab: Rehearsed,
    tmp_path: Path,
    rounds: int = 4,
    so_far: SideBySide | None = None,
    keep: Callable[[SideBySide], None] = lambda _: None,
    begins: Callable[[int, int], None] = lambda *_: None,
) -> SideBySide:
    return side_by_side(
        cast("Lab", lab),  # all that a proof asks of a laboratory
        Bench((), (), tmp_path, Machine("x", 2, 1024)),
        so_far or SideBySide((BASE, FIRST, SECOND, THIRD)),
        range(4 * rounds),
        ConfirmPlan(3, rounds, 4),
        Limits(60.0),
        left_s=lambda: lab.left_s,
        begins=begins,
        keep=keep,
    )


def test_a_proof_goes_on_from_any_of_its_rounds(tmp_path: Path) -> None:
    kept: list[tuple[SideBySide, float]] = []
    lab = Rehearsed({1: SECOND}, left_s=190.0)
    whole = proof(lab, tmp_path, keep=lambda read: kept.append((read, lab.left_s)))
    assert [len(read.rounds) for read, _ in kept] == [1, 1, 2, 3, 4]
    assert kept[-1][0] == whole
    for done, (read, left_s) in enumerate(kept, start=1):
        path = tmp_path / "proof.json"
        underway.keep(path, Underway(7, Constraints(), 0.0, ConfirmPlan(3, 4, 4), read))
        assert underway.known(path, 8, Constraints()) is None
        assert underway.known(path, 7, Constraints(max_p95_ms=9)) is None
        again = underway.known(path, 7, Constraints())
        assert again is not None
        later = Rehearsed({1: SECOND}, left_s=left_s)
        assert proof(later, tmp_path, so_far=again.read) == whole
        assert later.rounds == lab.rounds[done:]
    path.write_text("{")
    assert underway.known(path, 7, Constraints()) is None


@pytest.mark.parametrize(("left_s", "rounds"), [(1000.0, 8), (225.0, 5), (200.0, 4), (170.0, 4)])
def test_time_that_a_proof_did_not_need_gives_it_more_rounds(
    tmp_path: Path, left_s: float, rounds: int
) -> None:
    heard: list[tuple[int, int]] = []
    lab = Rehearsed(left_s=left_s)
    read = proof(lab, tmp_path, rounds=3, begins=lambda *round_of: heard.append(round_of))
    assert len(read.rounds) == rounds
    assert heard == [(number, max(3, number)) for number in range(1, rounds + 1)]
    assert lab.left_s >= 0


@pytest.mark.parametrize("left_s", [0.0, 4.0])
def test_a_proof_that_goes_on_ends_where_another_round_has_no_time(tmp_path: Path, left_s: float) -> None:
    kept: list[SideBySide] = []
    proof(Rehearsed(), tmp_path, keep=kept.append)
    assert kept[2].rounds[-1].took_s > 4.0
    late = Rehearsed(left_s=left_s)
    assert proof(late, tmp_path, so_far=kept[2]) == kept[2]
    assert not late.rounds


def test_a_finalist_that_fails_takes_nothing_but_its_own_part_along(tmp_path: Path) -> None:
    lab = Rehearsed({2: SECOND}, left_s=195.0)
    read = proof(lab, tmp_path)
    assert read.sides == (BASE, FIRST, THIRD)
    assert [variant for variant, _ in read.failed] == [SECOND]
    assert [len(sides) for sides, _ in lab.rounds] == [4, 4, 4, 3, 3]
    for one in read.rounds:
        assert [own[0].pages[0].page_id for own in one.blocks] == [side.id for side in read.sides]
        assert one.cold_start_s[1:] == one.log_ratios == one.peak_rss_mib[1:]
        assert len(one.cold_start_s) == 3


def test_a_finalist_that_started_at_once_leaves_the_time_of_the_others_starts(tmp_path: Path) -> None:
    lab = Rehearsed({1: SECOND}, starts_s={BASE: 60.0, FIRST: 60.0})
    read = proof(lab, tmp_path, so_far=SideBySide((BASE, FIRST, SECOND)))
    assert read.sides == (BASE, FIRST)
    assert len(read.rounds) == 5
    assert {len(pages) for _, pages in lab.rounds} == {4}
    assert lab.left_s >= 0


@pytest.mark.parametrize("moment", ["begins", "reads", "keeps"])
def test_an_interrupt_leaves_whole_rounds_whenever_it_comes(tmp_path: Path, moment: str) -> None:
    def stop(at: str) -> None:
        if at == moment and len(lab.rounds) == 3:
            raise KeyboardInterrupt

    lab = Rehearsed(begins=lambda: stop("reads"))
    read = proof(lab, tmp_path, keep=lambda _: stop("keeps"), begins=lambda *_: stop("begins"))
    assert read.stopped
    assert len(read.rounds) == (2 if moment == "reads" else 3)


def test_a_baseline_that_fails_in_company_gets_less_of_it_and_its_rounds_stay(tmp_path: Path) -> None:
    lab = Rehearsed({1: BASE}, left_s=190.0)
    read = proof(lab, tmp_path)
    assert read.sides == (BASE, FIRST, SECOND)
    assert len(read.rounds) == 4
    lab = Rehearsed(dict.fromkeys(range(3, 9), BASE))
    read = proof(lab, tmp_path)
    assert read.sides == (BASE, FIRST)
    assert len(read.rounds) == 3
    assert [len(sides) for sides, _ in lab.rounds] == [4, 4, 4, 4, 3, 2]


def test_memory_that_others_have_is_no_fault_of_a_finalist(tmp_path: Path) -> None:
    lab = Rehearsed({1: FIRST}, left_s=190.0, of=FailureKind.OOM)
    read = proof(lab, tmp_path)
    assert read.sides == (BASE, FIRST, SECOND)
    assert read.failed == ()
    assert len(read.rounds) == 4
    lab = Rehearsed(dict.fromkeys(range(1, 9), FIRST), of=FailureKind.OOM)
    read = proof(lab, tmp_path)
    assert read.sides == (BASE,)
    assert [variant for variant, _ in read.failed] == [FIRST]


def test_a_round_that_hangs_ends_with_the_time_and_condemns_nobody(tmp_path: Path) -> None:
    lab = Rehearsed({3: FIRST}, left_s=150.0, of=FailureKind.TIMEOUT)
    read = proof(lab, tmp_path)
    assert len(read.rounds) == 3
    assert read.failed == ()
    assert read.sides == (BASE, FIRST, SECOND, THIRD)


def test_what_a_failure_took_is_made_up_for_by_fewer_pages(tmp_path: Path) -> None:
    lab = Rehearsed({1: SECOND}, left_s=120.0)
    read = proof(lab, tmp_path, rounds=3)
    assert read.sides == (BASE, FIRST, THIRD)
    assert [len(pages) for _, pages in lab.rounds] == [4, 3, 3, 3]
    assert lab.left_s >= 0


def test_what_was_proven_before_does_not_outlive_its_own_failure() -> None:
    standing, other = comparison("standing", 3, 0.0), comparison("new", 0.5, 0.0)
    dead = replace(read_beside(other), failed=((standing.b, Failure(FailureKind.CRASH, "read", "died")),))
    assert winner(dead, (other,), Constraints(), standing) is None
