import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.interface import Line, Setting
from harness import comparing, objectives
from harness.comparing import (
    Deck,
    affordable_pages,
    compare,
    drift,
    hand_size,
    has_drifted,
    log_ratios,
    whole_hand,
)
from harness.machine import Caution, detect
from harness.measure import Bench, Limits, block_pages, cut, hang_limits, measure, truth_caution, warmup_pages
from harness.space import Space
from harness.values import (
    Block,
    Failure,
    FailureKind,
    Measurement,
    PageRecord,
    Round,
    TrialResult,
    Variant,
    Verdict,
)
from tests.pages import page_set, write_page

MACHINE = detect()


def bench(folder: Path, count: int = 10) -> Bench:
    pages, references = page_set(folder / "pages", count)
    return Bench(pages, references, folder / "work", MACHINE)


def variant(**settings: Setting) -> Variant:
    return Space.of("scripted", "cpu", MACHINE).variant({"page_ms": 20, **settings})


def made(replicas: int, pages_per_call: int, prefetch: int = 0) -> Variant:
    settings = {"replicas": replicas, "pages_per_call": pages_per_call, "prefetch": prefetch}
    return Variant("x", "cpu", settings)


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 4), st.integers(2, 6))
def test_the_first_rounds_read_every_page(count: int, replicas: int, call: int, rounds: int) -> None:
    sides = (made(replicas, call), made(1, 1))
    deck, size = Deck(count, seed=0), hand_size(count, block_pages(sides), rounds)
    hands = [deck.draw(size) for _ in range(rounds)]
    assert {index for hand in hands for index in hand} == set(range(count))
    assert all(len(hand) % block_pages(sides) == 0 for hand in hands)
    readings = Counter(index for hand in hands for index in hand)
    assert max(readings.values()) - min(readings.values()) <= 1 + block_pages(sides) // count


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 9))
def test_whole_rounds_read_every_page_once_in_the_same_blocks_in_another_order(
    pages: int, size: int, seed: int
) -> None:
    hands = [whole_hand(pages, size, seed, number) for number in range(3)]
    assert all(sorted(hand) == list(range(pages)) for hand in hands)
    assert len({frozenset(map(frozenset, cut(hand, size))) for hand in hands}) == 1
    if pages > 8:
        assert len(set(map(tuple, hands))) == 3


@given(
    st.integers(1, 8),
    st.integers(1, 6),
    st.floats(0.01, 10),
    st.floats(0, 30),
    st.floats(0, 600),
    st.integers(1, 8),
)
def test_rounds_are_planned_to_fit_the_time_that_is_left(
    block: int, blocks: int, page_s: float, start_s: float, left_s: float, rounds: int
) -> None:
    read = Block(tuple(PageRecord(f"p{i}", (), page_s, {}) for i in range(block)), block * page_s)
    last = Round(((read,) * blocks, (read,) * blocks), (1.0, 1.0), (0.0,))

    def cost_s(pages: int) -> float:
        return start_s + 2 * page_s * pages

    planned = affordable_pages(last, cost_s(block * blocks), left_s, rounds, block)
    assert planned % block == 0
    if planned:
        assert cost_s(planned) <= left_s + 1e-6
    else:
        assert cost_s(block) > 0.8 * left_s
    if planned > block:
        assert rounds * cost_s(planned) <= left_s + 1e-6
        assert rounds * cost_s(planned + block) > 0.8 * left_s


def test_engines_warm_up_on_small_pages_that_are_not_the_smallest(tmp_path: Path) -> None:
    pages = [
        replace(page, path=str(tmp_path / page.id.replace("/", "-"))) for page in page_set(tmp_path, 8)[0]
    ]
    for size, page in zip((80, 10, 70, 20, 60, 30, 50), pages, strict=False):
        Path(page.path).write_bytes(bytes(size))  # the last one is missing
    assert warmup_pages(pages) == [5]
    assert warmup_pages(pages, 2) == [5, 6]
    assert warmup_pages(pages[:1], 2) == [0]
    assert not warmup_pages(pages, 0)


def test_a_trial_stops_when_it_is_told_to_and_keeps_what_it_has(scripted: str, tmp_path: Path) -> None:
    def enough(blocks: object) -> str | None:
        return "enough" if len(blocks) == 2 else None  # type: ignore[arg-type]

    run = bench(tmp_path)
    outcome, note = measure(run, variant(), [[0, 1], [2, 3], [4, 5]], Limits(60), stop=enough)
    assert isinstance(outcome, Measurement)
    assert (len(outcome.pages), note) == (4, "enough")


def test_a_block_that_outlasts_its_pages_time_is_a_timeout(scripted: str, tmp_path: Path) -> None:
    outcome, _ = measure(bench(tmp_path), variant(page_ms=3000), [[0, 1]], Limits(60, page_s=0.5))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.TIMEOUT


def test_a_trial_whose_time_is_over_keeps_the_blocks_that_it_has_read(scripted: str, tmp_path: Path) -> None:
    one_of_many = [[page] for page in range(6)] * 20
    outcome, note = measure(bench(tmp_path), variant(page_ms=400), one_of_many, Limits(8))
    assert isinstance(outcome, Measurement)
    assert 0 < len(outcome.pages) < len(one_of_many)
    assert note == f"cut short after {len(outcome.pages)} pages: its time was over"


def test_a_trial_whose_time_is_over_before_its_first_block_has_told_nothing(
    scripted: str, tmp_path: Path
) -> None:
    outcome, note = measure(bench(tmp_path), variant(page_ms=5000), [[0]], Limits(1.0))
    assert isinstance(outcome, Failure)
    assert note == "cut short after 0 pages: its time was over"
    assert TrialResult(0, variant(), "search", 0.0, 1.0, outcome, note).ran_out_of_time
    assert not TrialResult(0, variant(), "search", 0.0, 1.0, outcome).ran_out_of_time


def test_a_page_that_hangs_is_a_failure_whatever_was_read_before_it(scripted: str, tmp_path: Path) -> None:
    run = bench(tmp_path)
    write_page(tmp_path / "pages", "p002", "this page hangs")
    outcome, _ = measure(run, variant(), [[0], [1], [2]], Limits(60, page_s=1.0))
    assert isinstance(outcome, Failure)
    assert outcome.kind is FailureKind.TIMEOUT


def test_a_comparison_finds_the_faster_side_and_what_it_costs(scripted: str, tmp_path: Path) -> None:
    slow, fast = variant(page_ms=40), variant(page_ms=10, garbled_pct=10)
    result = compare(bench(tmp_path), slow, fast, budget_s=120)
    assert result.verdict is Verdict.FASTER
    assert 1.5 < result.speedup.value < 4.5
    assert result.cer_a.value == 0
    assert result.cer_increase.low > 0.05
    assert result.pages == 10
    assert result.failure is None


def test_without_ground_truth_a_comparison_tells_the_drift_from_a(scripted: str, tmp_path: Path) -> None:
    run = bench(tmp_path)
    bare = replace(run, references=tuple(replace(reference, text="") for reference in run.references))
    result = compare(bare, variant(), variant(garbled_pct=10), budget_s=60, rounds=1)
    assert result.cer_a.value == 0
    assert result.cer_increase.value > 0.01


def test_the_baselines_reading_stands_in_for_sets_without_text_only(tmp_path: Path) -> None:
    run = bench(tmp_path)
    first, *others = run.references
    mixed = replace(run, references=(replace(first, set="scans", text=""), *others))
    read = PageRecord(first.page_id, (Line("as read"),), 1.0, {})
    assert mixed.with_references([read]).references == (replace(first, set="scans", text="as read"), *others)
    assert truth_caution(mixed.references) is Caution.PART_GROUND_TRUTH
    assert truth_caution(others) is None


def test_no_round_waits_much_longer_for_a_page_than_the_slowest_so_far_took(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Limits] = []

    def slow(_bench: Bench, _sides: object, pages: Sequence[int], *rest: object) -> Round:
        given.append(next(each for each in rest if isinstance(each, Limits)))
        records = tuple(PageRecord(f"p{page}", (), 30.0, {}) for page in pages)
        block = Block(records, 30.0 * len(pages))
        return Round(((block,), (block,)), (70.0, 70.0), (0.0,))

    monkeypatch.setattr(comparing, "interleaved_round", slow)
    side = variant()
    list(comparing.rounds_until(bench(tmp_path), (side, side), lambda _: True, budget_s=40.0, rounds=2))
    # The first round knows no page: it has three budgets. Then two of the slowest pages so far are no hang.
    assert given == [Limits(math.inf, page_s=120.0), hang_limits(70.0, 60.0)]


@pytest.mark.parametrize(("pages", "hands"), [(10, [4, 6, 6]), (5, [4, 5, 5])])
def test_a_round_has_blocks_enough_for_a_median(
    scripted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pages: int,
    hands: list[int],
) -> None:
    drawn: list[int] = []

    def counted(_bench: Bench, _sides: object, hand: Sequence[int], *_: object) -> Round:
        drawn.append(len(hand))
        block = Block(tuple(PageRecord(f"p{page}", (), 0.1, {}) for page in hand), 0.1 * len(hand))
        return Round(((block,), (block,)), (0.1, 0.1), (0.0,))

    monkeypatch.setattr(comparing, "interleaved_round", counted)
    sides = (variant(), variant())
    list(comparing.rounds_until(bench(tmp_path, pages), sides, lambda _: True, budget_s=600.0, rounds=3))
    assert drawn == hands


@pytest.mark.parametrize(("budget_s", "hands"), [(600.0, [4, 30, 30, 30, 30]), (60.0, [4, 7, 7, 7, 7])])
def test_rounds_are_whole_where_there_is_time_for_twice_as_many(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget_s: float, hands: list[int]
) -> None:
    drawn: list[int] = []
    now_s = 0.0

    def clocked(_bench: Bench, _sides: object, hand: Sequence[int], *_: object) -> Round:
        nonlocal now_s
        drawn.append(len(hand))
        now_s += 1.2 * len(hand)
        block = Block(tuple(PageRecord(f"p{page}", (), 0.6, {}) for page in hand), 0.6 * len(hand))
        return Round(((block,), (block,)), (0.1, 0.1), (0.0,))

    monkeypatch.setattr(comparing, "interleaved_round", clocked)
    monkeypatch.setattr("harness.measure.time.perf_counter", lambda: now_s)
    sides = (variant(), variant())
    run = bench(tmp_path, 30)
    list(comparing.rounds_until(run, sides, lambda _: True, budget_s=budget_s, whole=True))
    assert drawn == hands


def test_a_comparison_reads_whole_rounds_and_gives_the_ratio_of_the_totals(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench(tmp_path, 12)
    a, b = [1.0] * 11 + [20.0], [0.5] * 11 + [20.0]
    drawn: list[int] = []

    def read(_bench: Bench, _sides: object, hand: Sequence[int], *_: object) -> Round:
        drawn.append(len(hand))
        blocks = [
            tuple(Block((PageRecord(run.pages[page].id, (), took[page], {}),), took[page]) for page in hand)
            for took in (a, b)
        ]
        return Round(tuple(blocks), (0.1, 0.1), (math.log(2),))

    monkeypatch.setattr(comparing, "interleaved_round", read)
    result = compare(run, variant(), variant(), budget_s=6000.0)
    assert drawn == [4, 12, 12, 12, 12]
    assert result.log_ratios == pytest.approx((math.log(31 / 25.5),) * 4)
    assert result.verdict is Verdict.FASTER


def _round(*blocks: tuple[str, float, float]) -> Round:
    """Of blocks of a page a letter, and what both sides took of each."""

    def side(of: int) -> tuple[Block, ...]:
        return tuple(
            Block(tuple(PageRecord(page, (), 1.0, {}) for page in block[0]), float(block[of]))
            for block in blocks
        )

    return Round((side(1), side(2)), (1.0, 1.0), (0.5,))


def test_rounds_of_all_the_same_blocks_are_valued_by_their_totals(tmp_path: Path) -> None:
    run = bench(tmp_path)
    part = _round(("ab", 4.0, 1.0))
    whole = [_round(("ab", 4.0, 1.0), ("cd", 4.0, 7.0)), _round(("dc", 4.0, 7.0), ("ba", 4.0, 1.0))]
    assert log_ratios(run, [part, *whole, whole[0]], 1) == pytest.approx((0.0,) * 3)
    assert log_ratios(run, [part, *whole], 1) == (0.5,) * 3  # too few of them
    other = _round(("ac", 4.0, 1.0), ("bd", 4.0, 7.0))
    assert log_ratios(run, [*whole, other, other], 1) == (0.5,) * 4


def test_a_side_that_fails_is_named(scripted: str, tmp_path: Path) -> None:
    result = compare(bench(tmp_path), variant(), variant(fault="segfault"), budget_s=60)
    assert result.failure is not None
    assert result.failure.startswith("B (scripted): crash")
    assert result.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("replicas", "call", "prefetch", "pages"),
    [(1, 1, 0, 1), (2, 1, 0, 4), (1, 4, 0, 8), (3, 2, 0, 12), (1, 1, 1, 4), (2, 1, 8, 4), (1, 4, 2, 8)],
)
def test_a_block_holds_two_full_calls_of_every_replica_and_something_to_decode_ahead(
    replicas: int, call: int, prefetch: int, pages: int
) -> None:
    assert block_pages([made(1, 1), made(replicas, call, prefetch)]) == pages


def paced(seconds: Mapping[str, float]) -> tuple[tuple[Block, ...], ...]:
    """One round of two sides, the second twice as fast."""
    return tuple(
        tuple(
            Block((PageRecord(name, (), s / (1 + side), {}),), s / (1 + side)) for name, s in seconds.items()
        )
        for side in (0, 1)
    )


def test_pages_that_take_longer_late_than_early_are_a_drift() -> None:
    hard = {f"p{i}": 1.0 + i for i in range(4)}
    slowly = drift([paced({name: s * (1.05**number) for name, s in hard.items()}) for number in range(5)])
    assert slowly.value == pytest.approx(4 * math.log(1.05))
    assert has_drifted(slowly)
    faster = drift([paced({name: s * (0.95**number) for name, s in hard.items()}) for number in range(5)])
    assert has_drifted(faster)
    assert not has_drifted(drift([paced(hard)] * 5))
    # Other pages in each round are no drift, however hard they are.
    others = [paced({f"{number}-{name}": s * number for name, s in hard.items()}) for number in (1, 2)]
    assert not has_drifted(drift(others))


def test_pages_that_their_neighbours_hold_up_are_no_drift() -> None:
    draw = random.Random(0)

    def moody() -> tuple[tuple[Block, ...], ...]:
        return paced({f"p{i}": math.exp(draw.gauss(0, 0.3)) for i in range(14)})

    assert sum(has_drifted(drift([moody() for _ in range(8)])) for _ in range(200)) <= 4


def test_pages_that_come_too_late_for_a_trial_are_not_waited_for(scripted: str, tmp_path: Path) -> None:
    run = replace(bench(tmp_path), objective=objectives.server(0.5))
    assert run.sending_s([0, 1, 2, 3]) > run.sending_s([0]) >= 0
    assert bench(tmp_path).sending_s([0, 1, 2, 3]) == 0
