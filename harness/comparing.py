"""Two sides until the verdict is clear: how many rounds, of which pages, and what they say."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean

from harness import stats
from harness.accuracy.bootstrap import cer_increase, cer_increase_by_set, cer_interval
from harness.measure import (
    SLOWEST_PAGE_S,
    Bench,
    Deadline,
    Limits,
    SideFailedError,
    block_pages,
    cut,
    hang_limits,
    interleaved_round,
)
from harness.values import (
    UNKNOWN_DRIFT,
    Block,
    Comparison,
    Interval,
    PageRecord,
    Round,
    Variant,
    Verdict,
    first_readings,
)

ROUNDS = 5
"""Rounds before the first verdict of a comparison: every page is read once in them."""
_FIRST_BLOCKS = 4
"""Most blocks of the first round, from whose time the others are planned."""
_FIRST_BLOCK_BUDGETS = 3.0
"""Times the budget that a block of the first round may take: what takes longer is a hang and no slow engine."""
_SHORTEST_HANG_S = 60.0
_BLOCKS = 6
"""Of a round, where there are pages for them. Its value is their median: on two shared cores that of 3, 6 and 12
blocks differs by 5, 3 and 3 % for nothing, in rounds of 4.5, 6.7 and 10.9 s."""
_HARDER_PAGES = 2.0
"""Times the slowest page so far that pages to come may take without being late."""
_DRIFT, _DRIFT_ALPHA = 0.03, 0.01
"""The log of the change of speed that counts, and the chance of an interval that misses it."""
_MARGIN = 1.2
"""A round is begun where this multiple of its expected time is left."""


class Deck:
    """Page indices, shuffled anew whenever all have been dealt."""

    def __init__(self, pages: int, seed: int) -> None:
        self._pages = pages
        self._random = random.Random(f"{seed}/pages")
        self._left: list[int] = []

    def draw(self, count: int) -> list[int]:
        """The next `count` pages."""
        while len(self._left) < count:
            self._left += self._random.sample(range(self._pages), self._pages)
        hand, self._left = self._left[:count], self._left[count:]
        return hand


def whole_hand(pages: int, block: int, seed: int, number: int) -> list[int]:
    """Every page once, for round `number`: blocks of at least `block` that hold the same pages in every round.

    They come in another order each time, as far as they are equally long, and so do their pages.
    """
    draw = random.Random(f"{seed}/{number}/whole")
    places = cut(random.Random(f"{seed}/blocks").sample(range(pages), pages), block)
    left = draw.sample(places, len(places))
    hand: list[int] = []
    for place in places:
        chosen = next(each for each in left if len(each) == len(place))
        left.remove(chosen)
        hand += draw.sample(chosen, len(chosen))
    return hand


def hand_size(pages: int, block: int, rounds: int) -> int:
    """Pages a round, whole blocks of `block`, so that `rounds` rounds read every page."""
    return max(1, math.ceil(pages / rounds / block)) * block


def compare(
    bench: Bench,
    a: Variant,
    b: Variant,
    *,
    budget_s: float,
    rounds: int = ROUNDS,
    progress: Callable[[int, Interval], None] = lambda *_: None,
) -> Comparison:
    """A and B on the same pages until the verdict is clear or the budget, in seconds, is spent.

    Every page is read at least once unless the budget ends first; the accuracy is that of those pages. Each round
    reads them all where there is time for it: pages differ in what B gains on them.
    """
    results: list[Round] = []

    def settled(read: Sequence[Round]) -> bool:
        values = log_ratios(bench, read, 1)
        progress(len(read), stats.speedup(values, sequential=True))
        return stats.running_verdict(values) is not Verdict.INCONCLUSIVE

    failure = None
    try:
        for result in rounds_until(bench, (a, b), settled, budget_s=budget_s, rounds=rounds, whole=True):
            results.append(result)
    except SideFailedError as failed:
        side = "AB"[failed.side]
        failure = f"{side} ({(a, b)[failed.side].engine}): {failed.failure.kind}: {failed.failure.message}"
    return comparison(bench, a, b, results, 1, sequential=True, failure=failure)


def rounds_until(
    bench: Bench,
    sides: tuple[Variant, Variant],
    settled: Callable[[Sequence[Round]], bool],
    *,
    budget_s: float,
    rounds: int = ROUNDS,
    interpreters: Sequence[Path | None] = (),
    whole: bool = False,
) -> Iterator[Round]:
    """Interleaved rounds of two sides until `settled` by those so far, or until no other fits the budget.

    At least `rounds` rounds, which read every page once, and have blocks enough for a median. If `whole`, each but
    the first reads all pages, in the same blocks, where twice as many such rounds fit. Where the budget, in seconds,
    is too short, rounds are made smaller: an interval needs several. Raises SideFailedError.
    """
    clock = Deadline(budget_s)
    total, size = len(bench.pages), block_pages(sides)
    deck = Deck(total, bench.seed)
    least = min(_BLOCKS * size, hand_size(total, size, 1))
    count = min(max(least, hand_size(total, size, rounds)), _FIRST_BLOCKS * size)
    most = max(least, hand_size(max(1, total - count), size, max(1, rounds - 1)))
    first_block_s = max(_SHORTEST_HANG_S, _FIRST_BLOCK_BUDGETS * budget_s)
    limits = Limits(math.inf, page_s=min(SLOWEST_PAGE_S, first_block_s / size))
    slowest_s = 0.0
    read: list[Round] = []
    while count:
        began_s = clock.spent()
        is_whole = whole and read and count == total
        hand = whole_hand(total, size, bench.seed, len(read)) if is_whole else deck.draw(count)
        result = interleaved_round(bench, sides, hand, len(read), interpreters, limits)
        took_s = clock.spent() - began_s
        yield result
        read.append(result)
        slowest_s = max(slowest_s, *(b.wall_s / len(b.pages) for side in result.blocks for b in side))
        limits = hang_limits(max(result.cold_start_s), _HARDER_PAGES * slowest_s)
        if settled(read) and len(read) >= rounds:
            return
        if len(read) == 1:
            whole = (
                whole and affordable_pages(result, took_s, clock.left(), 2 * rounds, size) >= total >= size
            )
            most = total if whole else most
        left = max(1, rounds - len(read))
        count = min(most, affordable_pages(result, took_s, clock.left(), left, size))


def affordable_pages(last: Round, took_s: float, left_s: float, rounds: int, block: int) -> int:
    """Pages of the next round, whole blocks of `block`, so that `rounds` of them fit `left_s`, in seconds.

    Judged by the `last` round, which took `took_s`, starts included. At least a block where that much fits, else 0.
    """
    page_s = sum(b.wall_s for side in last.blocks for b in side) / sum(len(b.pages) for b in last.blocks[0])
    start_s = took_s - page_s * sum(len(b.pages) for b in last.blocks[0])
    if start_s + block * page_s > left_s / _MARGIN:
        return 0
    return max(1, int((left_s / _MARGIN / rounds - start_s) / page_s / block)) * block


def comparison(
    bench: Bench,
    a: Variant,
    b: Variant,
    rounds: Sequence[Round],
    side: int,
    *,
    sequential: bool,
    alpha: float = stats.ALPHA,
    failure: str | None = None,
) -> Comparison:
    """What the rounds say of side `side` (B) against side 0 (A); `sequential` and `alpha` as in `stats.speedup`."""
    values = log_ratios(bench, rounds, side)
    interval = stats.speedup(values, sequential=sequential, alpha=alpha)
    read = [readings(rounds, which) for which in (0, side)]
    scores_a, scores_b = map(bench.with_references(read[0]).score, read)
    unknown = Interval(math.nan, math.nan, math.nan)
    scored = bool(scores_a) and any(score.characters.reference_length for score in scores_a)
    return Comparison(
        a=a,
        b=b,
        log_ratios=values,
        speedup=interval,
        verdict=stats.running_verdict(values) if sequential else stats.verdict(interval),
        cer_a=cer_interval(scores_a) if scored else unknown,
        cer_b=cer_interval(scores_b) if scored else unknown,
        cer_increase=cer_increase(scores_a, scores_b) if scored else unknown,
        pages=len(scores_a),
        failure=failure,
        cer_increase_by_set=cer_increase_by_set(scores_a, scores_b),
        drift=drift([(result.blocks[0], result.blocks[side]) for result in rounds]),
    )


def log_ratios(bench: Bench, rounds: Sequence[Round], side: int) -> tuple[float, ...]:
    """What side `side` gains over side 0 in each round, of the objective.

    Of the totals, and by the rounds that read all the same blocks, where there are enough of them. Else it is the
    gain of a typical block: blocks differ in it, and the totals of other pages each time would differ by their pages.
    """
    totals = [
        {
            frozenset(page.page_id for page in a.pages): (
                bench.objective.total([a]),
                bench.objective.total([b]),
            )
            for a, b in zip(result.blocks[0], result.blocks[side], strict=True)
        }
        for result in rounds
    ]
    pages = [frozenset[str]().union(*blocks) for blocks in totals]
    every = frozenset[str]().union(*pages)
    whole = [blocks for blocks, read in zip(totals, pages, strict=True) if read == every]
    if len(whole) < stats.MIN_ROUNDS or any(blocks.keys() != whole[0].keys() for blocks in whole):
        return tuple(result.log_ratios[side - 1] for result in rounds)
    first, second = ([[blocks[block][of] for block in whole[0]] for blocks in whole] for of in (0, 1))
    return tuple(stats.round_totals(first, second))


def readings(rounds: Sequence[Round], side: int) -> list[PageRecord]:
    """Each page as a side read it the first time."""
    pages = (page for result in rounds for block in result.blocks[side] for page in block.pages)
    return list(first_readings(pages).values())


def drift(rounds: Sequence[Sequence[Sequence[Block]]]) -> Interval:
    """Log of how much longer the same page takes in later rounds than in early ones, with its 99 % interval.

    `rounds` hold the blocks of each side, and are late and early where half of them lie between. A page takes a third
    more or less by what its neighbours leave it of the machine, to all sides alike: many pages are needed to tell.
    """
    read: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for number, sides in enumerate(rounds):
        for side, blocks in enumerate(sides):
            for page in (page for block in blocks for page in block.pages):
                read.setdefault((page.page_id, side), []).append((number, page.seconds))
    changes: dict[str, list[float]] = {}
    for (page_id, _), times in read.items():
        (early, early_s), (late, late_s) = times[0], times[-1]
        if 2 * (late - early) >= len(rounds) and min(late_s, early_s) > 0:
            changes.setdefault(page_id, []).append(math.log(late_s / early_s))
    return stats.mean_interval(list(map(fmean, changes.values())), _DRIFT_ALPHA) if changes else UNKNOWN_DRIFT


def has_drifted(change: Interval) -> bool:
    """Whether a drift is surely more than a trifle, one way or the other."""
    return change.low > _DRIFT or change.high < -_DRIFT
