"""Measuring: one variant alone, or several side by side in interleaved rounds of fresh processes.

Why interleaved: on a shared machine, totals of A then B differ by 16 % for nothing; the median over blocks of
log(t_A / t_B), one side at a time and in an order that a coin decides, by 3 %.
"""

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from engines.interface import Machine
from harness import stats
from harness.accuracy.bootstrap import cer_increase, cer_interval
from harness.accuracy.scores import PageScore, score_page
from harness.data import PageRef
from harness.machine import Caution
from harness.objectives import THROUGHPUT, Objective
from harness.scenarios import Traffic, poisson_arrivals_s
from harness.session import Session, TrialFailedError
from harness.values import (
    Block,
    Comparison,
    Failure,
    Interval,
    Measurement,
    PageRecord,
    ReferencePage,
    Round,
    Variant,
    Verdict,
)

SLOWEST_PAGE_S = 180.0
"""A page that takes longer is a hang, unless the caller knows better."""
OPEN_S = 300.0
"""Loading, compiling and the first page may take this long."""
ROUNDS = 5
"""Rounds before the first verdict of a comparison: every page is read once in them."""
_FIRST_BLOCKS = 4
"""Most blocks of the first round, from whose time the others are planned."""
_MARGIN = 1.2
"""A round is begun where this multiple of its expected time is left."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a trial may take as a whole, its start, and each of its pages, in seconds."""

    trial_s: float
    start_s: float = OPEN_S
    page_s: float = SLOWEST_PAGE_S


_NO_LIMITS = Limits(math.inf)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and on what to measure."""

    pages: tuple[PageRef, ...]
    references: tuple[ReferencePage, ...]
    """Ground truth of `pages`, in their order."""
    folder: Path
    machine: Machine
    seed: int = 0
    objective: Objective = THROUGHPUT

    def read(self, session: Session, indices: Sequence[int], deadline_s: float) -> Block:
        """Let an opened session read pages as the objective's scenario sends them.

        Arrivals depend on seed, rate and pages alone: every side of a comparison gets the same. `deadline_s` is the
        time allowed, in seconds, after the last arrival. Raises TrialFailedError.
        """
        scenario = self.objective.scenario
        match scenario.traffic:
            case Traffic.OFFLINE:
                return session.read(indices, deadline_s)
            case Traffic.SINGLE:
                return session.read_singly(indices, deadline_s)
            case Traffic.SERVER:
                seed = f"{self.seed}/arrivals/{','.join(map(str, indices))}"
                arrivals_s = poisson_arrivals_s(scenario.rate, len(indices), seed)
                return session.serve(indices, arrivals_s, deadline_s)

    def score(self, records: Sequence[PageRecord]) -> list[PageScore]:
        """The accuracy of each page record."""
        references = {reference.page_id: reference for reference in self.references}
        return [score_page(references[record.page_id], record.lines) for record in records]

    def with_references(self, baseline: Iterable[PageRecord]) -> "Bench":
        """Where no page of a set has ground truth, the same with the baseline's first readings in its place.

        What is scored against them is drift, not CER.
        """
        bare = sets_without_text(self.references)
        read: dict[str, str] = {}
        for record in baseline:
            read.setdefault(record.page_id, record.text)
        return replace(
            self,
            references=tuple(
                replace(reference, text=read.get(reference.page_id, ""))
                if reference.set in bare
                else reference
                for reference in self.references
            ),
        )


def sets_without_text(references: Iterable[ReferencePage]) -> set[str]:
    """The data sets in which no page has ground truth."""
    pages = list(references)
    return {page.set for page in pages} - {page.set for page in pages if page.text}


def truth_caution(references: Iterable[ReferencePage]) -> Caution | None:
    """What to say of CER where some pages have no ground truth."""
    pages = list(references)
    bare = sets_without_text(pages)
    if not bare:
        return None
    return Caution.PART_GROUND_TRUTH if {page.set for page in pages} - bare else Caution.NO_GROUND_TRUTH


def warmup_pages(count: int, pages: int) -> list[int]:
    """Indices of the pages to warm up on: the first `count`, or fewer."""
    return list(range(min(count, pages)))


def block_pages(variants: Sequence[Variant]) -> int:
    """Pages a block needs so that every replica of every variant gets two full calls, or one page."""

    def needed(variant: Variant) -> int:
        replicas, call = (
            int(variant.settings.get("replicas", 1)),
            int(variant.settings.get("pages_per_call", 1)),
        )
        return 1 if replicas * call == 1 else 2 * replicas * call

    return max(needed(variant) for variant in variants)


def measure(
    bench: Bench,
    variant: Variant,
    blocks: Sequence[Sequence[int]],
    limits: Limits,
    *,
    warmup: int = 1,
    stop: Callable[[Sequence[Block]], str | None] = lambda _: None,
) -> tuple[Measurement | Failure, str]:
    """Read `blocks` of pages with one variant in fresh processes.

    After each block `stop` may end the trial early by giving a reason. Returns the outcome and that reason ("" where
    there was none).
    """
    clock = Deadline(limits.trial_s)
    note = ""
    session = Session(variant, bench.pages, bench.folder, bench.machine)
    try:
        with session:
            session.start(warmup_pages(warmup, len(bench.pages)), clock.left(limits.start_s))
            done: list[Block] = []
            for block in blocks:
                done.append(bench.read(session, block, clock.left(limits.page_s * len(block))))
                if reason := stop(done):
                    note = reason
                    break
        return session.measurement(), note
    except TrialFailedError as failed:
        return failed.failure, note


class SideFailedError(Exception):
    """One side of a comparison could not be measured."""

    def __init__(self, side: int, failure: Failure) -> None:
        super().__init__(failure.message)
        self.side, self.failure = side, failure


def interleaved_round(
    bench: Bench,
    variants: Sequence[Variant],
    pages: Sequence[int],
    number: int,
    interpreters: Sequence[Path | None] = (),
    limits: Limits = _NO_LIMITS,
) -> Round:
    """One round over `pages`: fresh processes, random order of start, one side at a time, a coin for each block.

    `limits` are those of the round as a whole, of the start of each side, and of each page.
    `interpreters` are the Pythons of the sides, None for this one; none at all where every side runs in this one.
    Raises SideFailedError.
    """
    draw = random.Random(f"{bench.seed}/{number}")
    clock = Deadline(limits.trial_s)
    sides = list(range(len(variants)))
    # A queue needs time to build up: a server gets all pages of the round as one stream.
    served = bench.objective.scenario.traffic is Traffic.SERVER
    size = len(pages) if served else min(block_pages(variants), len(pages))
    blocks: list[list[Block]] = [[] for _ in sides]
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(
                # Counters of a side that waits while the other runs would mislead.
                Session(
                    variant,
                    bench.pages,
                    bench.folder / f"round-{number:02d}-{side}",
                    bench.machine,
                    sample_counters=False,
                    interpreter=interpreter,
                )
            )
            for side, (variant, interpreter) in enumerate(
                zip(variants, interpreters or [None] * len(variants), strict=True)
            )
        ]
        for side in draw.sample(sides, len(sides)):
            try:
                sessions[side].start(warmup_pages(1, len(bench.pages)), clock.left(limits.start_s))
            except TrialFailedError as failed:
                raise SideFailedError(side, failed.failure) from failed
        count = max(1, len(pages) // size)
        edges = [round(i * len(pages) / count) for i in range(count + 1)]
        for start, end in pairwise(edges):
            block = pages[start:end]
            for side in draw.sample(sides, len(sides)):
                try:
                    deadline_s = clock.left(limits.page_s * len(block))
                    blocks[side].append(bench.read(sessions[side], block, deadline_s))
                except TrialFailedError as failed:
                    raise SideFailedError(side, failed.failure) from failed
        peaks = tuple(session.peak_rss_mib() for session in sessions)
    ratios = tuple(
        stats.round_value(
            [
                math.log(bench.objective.total([first]) / bench.objective.total([other]))
                for first, other in zip(blocks[0], blocks[side], strict=True)
            ]
        )
        for side in sides[1:]
    )
    return Round(
        tuple(tuple(side) for side in blocks),
        tuple(session.measurement().cold_start_s for session in sessions),
        ratios,
        peaks,
    )


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

    Every page is read at least once unless the budget ends first; the accuracy is that of those pages.
    """
    results: list[Round] = []

    def settled(log_ratios: Sequence[float]) -> bool:
        interval = stats.speedup(log_ratios, sequential=True)
        progress(len(log_ratios), interval)
        return stats.verdict(interval) is not Verdict.INCONCLUSIVE

    failure = None
    try:
        for result in rounds_until(bench, (a, b), settled, budget_s=budget_s, rounds=rounds):
            results.append(result)
    except SideFailedError as failed:
        side = "AB"[failed.side]
        failure = f"{side} ({(a, b)[failed.side].engine}): {failed.failure.kind}: {failed.failure.message}"
    return comparison(bench, a, b, results, 1, sequential=True, failure=failure)


def rounds_until(
    bench: Bench,
    sides: tuple[Variant, Variant],
    settled: Callable[[Sequence[float]], bool],
    *,
    budget_s: float,
    rounds: int = ROUNDS,
    interpreters: Sequence[Path | None] = (),
) -> Iterator[Round]:
    """Interleaved rounds of two sides until `settled` by their log-ratios, or until no other fits the budget.

    At least `rounds` rounds, which read every page once. Where the budget, in seconds, is too short for that, rounds
    are made smaller: few pages in many rounds say more of speed than many pages in few. Raises SideFailedError.
    """
    clock = Deadline(budget_s)
    total, size = len(bench.pages), block_pages(sides)
    deck = Deck(total, bench.seed)
    count = min(hand_size(total, size, rounds), _FIRST_BLOCKS * size)
    most = hand_size(max(1, total - count), size, max(1, rounds - 1))
    log_ratios: list[float] = []
    while count:
        began_s = clock.spent()
        result = interleaved_round(bench, sides, deck.draw(count), len(log_ratios), interpreters)
        took_s = clock.spent() - began_s
        yield result
        log_ratios.append(result.log_ratios[0])
        if settled(log_ratios) and len(log_ratios) >= rounds:
            return
        left = max(1, rounds - len(log_ratios))
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
    log_ratios = tuple(result.log_ratios[side - 1] for result in rounds)
    interval = stats.speedup(log_ratios, sequential=sequential, alpha=alpha)
    read = [list(first_reading(result.blocks[which] for result in rounds).values()) for which in (0, side)]
    scores_a, scores_b = map(bench.with_references(read[0]).score, read)
    unknown = Interval(math.nan, math.nan, math.nan)
    scored = bool(scores_a) and any(score.characters.reference_length for score in scores_a)
    return Comparison(
        a=a,
        b=b,
        log_ratios=log_ratios,
        speedup=interval,
        verdict=stats.verdict(interval),
        cer_a=cer_interval(scores_a) if scored else unknown,
        cer_b=cer_interval(scores_b) if scored else unknown,
        cer_increase=cer_increase(scores_a, scores_b) if scored else unknown,
        pages=len(scores_a),
        failure=failure,
    )


def first_reading(rounds: Iterable[tuple[Block, ...]]) -> dict[str, PageRecord]:
    """Each page of one side's blocks as it was read the first time, by page id."""
    first: dict[str, PageRecord] = {}
    for blocks in rounds:
        for block in blocks:
            for record in block.pages:
                first.setdefault(record.page_id, record)
    return first


class Deadline:
    """Time left of a budget, in seconds."""

    def __init__(self, budget_s: float) -> None:
        self._began = time.perf_counter()
        self._budget_s = budget_s

    def spent(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._began

    def left(self, at_most: float = math.inf) -> float:
        """Seconds that are left, `at_most` so many, and never less than 0."""
        return max(0.0, min(at_most, self._budget_s - self.spent()))
