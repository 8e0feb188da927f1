"""Trials side by side: each laboratory measures one at a time, and whichever is free takes the next."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness import descendants
from harness.measure import Bench, Limits
from harness.search.lab import Lab
from harness.search.proposals import Proposal
from harness.values import Block, TrialResult, Variant

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """A trial that is to be measured, wherever there is room."""

    number: int
    variant: Variant
    phase: str
    bench: Bench
    blocks: Sequence[Sequence[int]]
    limits: Limits
    stop: Callable[[Sequence[Block]], str | None]
    clock_s: Callable[[], float]
    """Seconds since the run began."""

    def run(self, lab: Lab) -> TrialResult:
        """Measure it there."""
        began_s = self.clock_s()
        outcome, note = lab.measure(self.bench, self.variant, self.blocks, self.limits, stop=self.stop)
        wall_s = self.clock_s() - began_s
        return TrialResult(
            self.number, self.variant, self.phase, began_s, wall_s, outcome, note, device=lab.label
        )


def end(running: Iterable[Future[Any]]) -> None:
    """Wait for threads that wait for their workers, which are killed."""
    futures = list(running)
    while wait(futures, timeout=0).not_done:
        descendants.kill_all(_POLL_S)
        wait(futures, timeout=_POLL_S)


class Lanes:
    """Laboratories that measure at the same time, each one job.

    A single one measures in the calling thread, so that an interrupt reaches it at once.
    """

    def __init__(self, labs: Sequence[Lab]) -> None:
        self._free = deque(labs)
        self._pool = ThreadPoolExecutor(len(labs)) if len(labs) > 1 else None
        self._running: dict[Future[TrialResult], tuple[Proposal, Lab]] = {}

    @contextmanager
    def kept_by(self, keep: Callable[[TrialResult], None]) -> Iterator[None]:
        """In here jobs run. Leaving it ends those that still do, and gives `keep` those that nobody has taken."""
        try:
            yield
        finally:
            ended = wait(self._running, timeout=0).done
            end(self._running)
            if self._pool:
                self._pool.shutdown()
            for future in ended:
                if future.exception() is None:
                    keep(future.result())

    @property
    def free(self) -> bool:
        """Whether a job can start now."""
        return bool(self._free)

    @property
    def busy(self) -> bool:
        """Whether a job runs, or has ended and was not taken yet."""
        return bool(self._running)

    def start(self, proposal: Proposal, job: Job) -> None:
        """Begin a job in a free laboratory; a single one ends it before this returns."""
        lab = self._free.popleft()
        if self._pool:
            future = self._pool.submit(job.run, lab)
        else:
            future = Future()
            future.set_result(job.run(lab))
        self._running[future] = (proposal, lab)

    def next(self) -> tuple[Proposal, TrialResult]:
        """Wait for the job that ends first."""
        done = wait(self._running, return_when=FIRST_COMPLETED).done.pop()
        proposal, lab = self._running.pop(done)
        self._free.append(lab)
        return proposal, done.result()
