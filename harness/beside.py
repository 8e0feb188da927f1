"""A base that stays open while one variant after the other comes beside it in a fresh process.

Both read the same blocks of pages; a coin decides who goes first. Nothing outlasts the budget.
"""

import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.liveness import Reading, rss_peak_mib
from harness.measure import OPEN_S, SLOWEST_PAGE_S, Bench, Deadline
from harness.session import Session, TrialFailedError
from harness.values import Block, Failure, FailureKind, Variant


class OutOfTimeError(Exception):
    """The budget ended while something was measured, which says nothing of what was measured."""


class Clock(Deadline):
    """A budget whose end is told from a hang."""

    @contextmanager
    def bounds(self) -> Iterator[None]:
        """Tell a timeout that is the budget's end from one that is the variant's doing."""
        try:
            yield
        except TrialFailedError as failed:
            if failed.failure.kind is FailureKind.TIMEOUT and not self.left():
                raise OutOfTimeError from failed
            raise


class Beside:
    """An open base and those who are measured beside it. Use as a context manager.

    Entering and reading raise TrialFailedError where the base fails, OutOfTimeError where the budget ends.
    """

    def __init__(self, bench: Bench, base: Variant, folder: Path, clock: Clock) -> None:
        self.base = base
        self.texts: dict[str, str] = {}
        """What the base read, by page id."""
        self.start_s = 0.0
        """What starting the base took: imports, loading and the first page."""
        self._bench, self._folder, self._clock = bench, folder, clock
        self._coin = random.Random(f"{bench.seed}/probe")
        self._opened = 0
        self._session = Session(base, bench.pages, folder / "base", bench.machine, sample_counters=False)

    def __enter__(self) -> "Beside":
        began = time.perf_counter()
        try:
            with self._clock.bounds():
                self._session.start([0], self._clock.left(OPEN_S))
        except BaseException:
            self._session.close()
            raise
        self.start_s = time.perf_counter() - began
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def time_base(self, pages: Sequence[int]) -> float:
        """Seconds in which the base reads `pages`."""
        return self._read_base(pages).wall_s

    def copy(self, blocks: Sequence[Sequence[int]]) -> Reading:
        """The base beside itself."""
        outcome = self.read(self.base, blocks)
        if isinstance(outcome, Failure):
            raise TrialFailedError(outcome)
        return outcome

    def glance(self, variant: Variant, pages: Sequence[int]) -> Reading | Failure:
        """What `variant` reads on `pages` in a fresh process, its time and memory not compared."""
        with self._session_of(variant) as session:
            try:
                with self._clock.bounds():
                    session.start([], self._clock.left(OPEN_S))
                block = self._read(session, pages)
            except TrialFailedError as failed:
                return failed.failure
        return Reading({page.page_id: page.text for page in block.pages}, (), None)

    def read(self, variant: Variant, blocks: Sequence[Sequence[int]]) -> Reading | Failure:
        """The blocks with `variant` in a fresh process beside the base."""
        texts: dict[str, str] = {}
        ratios: list[float] = []
        with self._session_of(variant) as session:
            try:
                with self._clock.bounds():
                    session.start(blocks[0][:1], self._clock.left(OPEN_S))
            except TrialFailedError as failed:
                return failed.failure
            for pages in blocks:
                base_first = self._coin.random() < 0.5
                base = self._read_base(pages) if base_first else None
                try:
                    ours = self._read(session, pages)
                except TrialFailedError as failed:
                    return failed.failure
                base = base or self._read_base(pages)
                texts |= {page.page_id: page.text for page in ours.pages}
                ratios.append(math.log(base.busy_s / ours.busy_s))
        return Reading(texts, tuple(ratios), rss_peak_mib(session.measurement().samples))

    def _session_of(self, variant: Variant) -> Session:
        self._opened += 1
        folder = self._folder / f"{self._opened:02d}-{variant.id}"
        return Session(variant, self._bench.pages, folder, self._bench.machine)

    def _read_base(self, pages: Sequence[int]) -> Block:
        block = self._read(self._session, pages)
        for page in block.pages:
            self.texts.setdefault(page.page_id, page.text)
        return block

    def _read(self, session: Session, pages: Sequence[int]) -> Block:
        with self._clock.bounds():
            return session.read(pages, self._clock.left(SLOWEST_PAGE_S * len(pages)))
