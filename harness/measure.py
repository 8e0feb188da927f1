"""Measuring: one variant alone, or several side by side in interleaved rounds of fresh processes.

Why interleaved: on a shared machine, totals of A then B differ by 16 % for nothing; the median over blocks of
log(t_A / t_B), one side at a time and in an order that a coin decides, by 3 %.
"""

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from engines.interface import Machine
from harness import stats
from harness.accuracy.scores import PageScore, score_page
from harness.data import PageRef
from harness.machine import Caution
from harness.objectives import THROUGHPUT, Objective
from harness.scenarios import Traffic, poisson_arrivals_s
from harness.session import Session, TrialFailedError
from harness.values import (
    Block,
    Failure,
    FailureKind,
    Measurement,
    PageRecord,
    ReferencePage,
    Round,
    Variant,
)

SLOWEST_PAGE_S = 180.0
"""A page that takes longer is a hang, unless the caller knows better."""
OPEN_S = 300.0
"""Loading, compiling and the first page may take this long."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a trial may take as a whole, its start, and each of its pages, in seconds."""

    trial_s: float
    start_s: float = OPEN_S
    page_s: float = SLOWEST_PAGE_S


_NO_LIMITS = Limits(math.inf)
_HANG_FACTOR = 5.0
_SHORTEST_HANG_S = 10.0
QUEUE_PAGES = 4
"""Pages a block needs at least before settings of the page pipeline can act: one page has nothing to wait for."""


def hang_limits(start_s: float, page_s: float) -> Limits:
    """What no start and no page takes where they are known to take so many seconds: beyond is a hang."""
    return Limits(
        math.inf,
        start_s=_HANG_FACTOR * max(_SHORTEST_HANG_S, start_s),
        page_s=_HANG_FACTOR * max(_SHORTEST_HANG_S / QUEUE_PAGES, page_s),
    )


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
                # A counter of energy would count what is read again.
                return session.read(indices, deadline_s, refill=not self.objective.needs_long_blocks)
            case Traffic.SINGLE:
                return session.read_singly(indices, deadline_s)
            case Traffic.SERVER:
                return session.serve(indices, self._arrivals_s(indices), deadline_s)

    def sending_s(self, indices: Sequence[int]) -> float:
        """Seconds until the last of these pages has been sent, which no deadline shortens."""
        server = self.objective.scenario.traffic is Traffic.SERVER
        return self._arrivals_s(indices)[-1] if server and indices else 0.0

    def _arrivals_s(self, indices: Sequence[int]) -> Sequence[float]:
        seed = f"{self.seed}/arrivals/{','.join(map(str, indices))}"
        return poisson_arrivals_s(self.objective.scenario.rate, len(indices), seed)

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


def warmup_pages(pages: Sequence[PageRef], count: int = 1) -> list[int]:
    """Indices of the pages to warm up on: `count`, or fewer, whose files are larger than those of a quarter of all.

    It is the first call that warms an engine up, whatever the page, and a slow engine takes longer over a large one
    than over loading. The smallest of all may be blank, and would leave recognition cold.
    """
    ranked = sorted(range(len(pages)), key=lambda index: (_file_bytes(pages[index]), index))
    first = min(len(ranked) // 4, max(0, len(ranked) - count))
    return ranked[first : first + count]


def _file_bytes(page: PageRef) -> float:
    try:
        return Path(page.path).stat().st_size
    except OSError:
        return math.inf  # whoever reads it will say what is wrong


def block_pages(variants: Sequence[Variant]) -> int:
    """Pages a block needs so that every replica of every variant gets two full calls, or one page.

    Where pages are decoded ahead there are several, as nothing is ahead of the last one.
    """

    def needed(variant: Variant) -> int:
        replicas, call, ahead = (
            int(variant.settings.get(name, usual))
            for name, usual in (("replicas", 1), ("pages_per_call", 1), ("prefetch", 0))
        )
        calls = 1 if replicas * call == 1 else 2 * replicas * call
        return max(calls, QUEUE_PAGES) if ahead else calls

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

    After each block `stop` may end the trial early by giving a reason, and so does the end of the trial's time: what
    was read until then stands. Returns the outcome and that reason ("" where there was none). A failure that has one
    is no fault of the variant's: its time was over before the first block was.
    """
    clock = Deadline(limits.trial_s)
    note = ""
    done: list[Block] = []
    session = Session(variant, bench.pages, bench.folder, bench.machine)
    try:
        with session:
            session.start(warmup_pages(bench.pages, warmup), clock.left(limits.start_s))
            for block in blocks:
                if done and bench.sending_s(block) > clock.left():
                    note = cut_short(done)
                    break
                done.append(bench.read(session, block, clock.left(limits.page_s * len(block))))
                if reason := stop(done):
                    note = reason
                    break
        return session.measurement(), note
    except TrialFailedError as failed:
        if failed.failure.kind is FailureKind.TIMEOUT and not clock.left():
            return session.measurement() if done else failed.failure, cut_short(done)
        return failed.failure, note


def cut_short(done: Sequence[Block]) -> str:
    """The note of a trial that had read so much when its time was over, which is no fault of its own."""
    return f"cut short after {sum(len(block.pages) for block in done)} pages: its time was over"


_UNTOLD = Failure(
    FailureKind.UNSUPPORTED,
    "read",
    "a counter of the objective could not be read, or stood still, over a block",
)


def cut(pages: Sequence[int], size: int) -> list[Sequence[int]]:
    """Blocks of at least `size` pages where there are so many, as even as can be."""
    count = max(1, len(pages) // size)
    edges = [round(i * len(pages) / count) for i in range(count + 1)]
    return [pages[start:end] for start, end in pairwise(edges)]


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
    size = len(pages) if bench.objective.needs_long_blocks else min(block_pages(variants), len(pages))
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
                sessions[side].start(warmup_pages(bench.pages), clock.left(limits.start_s))
            except TrialFailedError as failed:
                raise SideFailedError(side, failed.failure) from failed
        for block in cut(pages, size):
            for side in draw.sample(sides, len(sides)):
                try:
                    deadline_s = clock.left(limits.page_s * len(block))
                    blocks[side].append(bench.read(sessions[side], block, deadline_s))
                except TrialFailedError as failed:
                    raise SideFailedError(side, failed.failure) from failed
        peaks = tuple(session.peak_rss_mib() for session in sessions)
    totals = [[bench.objective.total([block]) for block in own] for own in blocks]
    for side, own in enumerate(totals):
        if not all(0 < total < math.inf for total in own):
            raise SideFailedError(side, _UNTOLD)
    ratios = tuple(
        stats.round_value([math.log(a / b) for a, b in zip(totals[0], totals[side], strict=True)])
        for side in sides[1:]
    )
    return Round(
        tuple(tuple(side) for side in blocks),
        tuple(session.measurement().cold_start_s for session in sessions),
        ratios,
        peaks,
    )


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
