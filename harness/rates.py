"""The highest rate at which a variant answers in time: the server scenario, measured."""

import time
from dataclasses import dataclass, replace

from harness.measure import OPEN_S, Bench, warmup_pages
from harness.scenarios import allowed_late, highest_rate, late, poisson_arrivals_s
from harness.session import Session, TrialFailedError
from harness.values import Block, Failure, Measurement, Variant


@dataclass(frozen=True, slots=True)
class RateTried:
    """One rate that was tried."""

    rate: float
    """Arrivals a second."""
    requests: int
    """Answered before the verdict: fewer than were planned where too many were late."""
    late: int
    met: bool


@dataclass(frozen=True, slots=True)
class HighestRate:
    """What was found for a bound on p99."""

    bound_ms: float
    capacity: float
    """Pages a second when all are there at once: no higher rate is tried."""
    rate: float | None
    """None where no rate that was tried met the bound."""
    tried: tuple[RateTried, ...]
    measurement: Measurement
    """At that rate, or at the lowest that was tried."""


def find_highest_rate(
    bench: Bench, variant: Variant, *, bound_ms: float, requests: int, deadline_s: float, warmup: int = 1
) -> HighestRate | Failure:
    """Serve Poisson arrivals at one rate after the other, in the same processes, until the highest is found.

    Each rate gets `requests` arrivals, the pages taken in turns, with the same seed. A rate is met where no more
    than 1 % of them take longer than `bound_ms` from their scheduled arrival, and given up as soon as more do.
    """
    began = time.perf_counter()
    blocks: dict[RateTried, Block] = {}
    turns = [i % len(bench.pages) for i in range(requests)]
    session = Session(variant, bench.pages, bench.folder, bench.machine)

    def left_s() -> float:
        return max(0.0, deadline_s - (time.perf_counter() - began))

    def meets(rate: float) -> bool:
        seen: list[float] = []

        def hopeless(latency_s: float) -> bool:
            seen.append(latency_s)
            return late(seen, bound_ms / 1000) > allowed_late(requests)

        block = session.serve(turns, poisson_arrivals_s(rate, requests, bench.seed), left_s(), hopeless)
        too_late = late([page.seconds for page in block.pages], bound_ms / 1000)
        tried = RateTried(rate, len(block.pages), too_late, too_late <= allowed_late(requests))
        blocks[tried] = block
        return tried.met

    try:
        with session:
            session.start(warmup_pages(bench.pages, warmup), min(OPEN_S, left_s()))
            capacity = session.read(range(len(bench.pages)), left_s()).pages_per_second
            found = highest_rate(meets, capacity)
    except TrialFailedError as failed:
        return failed.failure
    shown = min(blocks, key=lambda tried: (not tried.met, -tried.rate if tried.met else tried.rate))
    measurement = replace(session.measurement(), blocks=(blocks[shown],))
    return HighestRate(bound_ms, capacity, found, tuple(blocks), measurement)
