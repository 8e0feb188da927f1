"""How pages reach a variant: all at once, one after the other, or at random times as users send them. Pure.

The three are the offline, single-stream and server scenarios of MLPerf Inference (arXiv 1911.02549).
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

LATE_SHARE = 0.01
"""Of the requests of a server may take longer than the bound on p99."""
_RATE_STEP = 0.05
"""Of the capacity: the highest rate is found to within this."""


class Traffic(StrEnum):
    """Who decides when the next page comes."""

    OFFLINE = "offline"
    """All pages are there: the variant takes the next when it likes. Measures throughput."""
    SINGLE = "single"
    """One page at a time, the next when the last is done. Measures latency without waiting."""
    SERVER = "server"
    """Pages arrive at random times whether or not the variant keeps up. Measures latency with waiting."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Traffic, and for a server its mean rate in pages a second."""

    traffic: Traffic = Traffic.OFFLINE
    rate: float = 0.0


OFFLINE = Scenario()


def poisson_arrivals_s(rate: float, count: int, seed: object) -> tuple[float, ...]:
    """Arrival times, in seconds, of a Poisson process of `rate` a second; the first gap is a gap like any other.

    The same seed gives the same times on another scale at another rate, so that a queue that keeps a bound at one
    rate keeps it at every lower one, up to the noise of the work itself (common random numbers).
    """
    draw = random.Random(str(seed))
    return tuple(accumulate(draw.expovariate(1.0) / rate for _ in range(count)))


def allowed_late(requests: int) -> int:
    """How many of so many requests may miss the bound on p99 (nearest rank) before it is missed."""
    return requests - math.ceil((1 - LATE_SHARE) * requests)


def late(latencies_s: Sequence[float], bound_s: float) -> int:
    """How many latencies are above the bound."""
    return sum(latency > bound_s for latency in latencies_s)


def highest_rate(meets: Callable[[float], bool], capacity: float) -> float | None:
    """The highest rate up to `capacity`, both a second, that meets a bound: by bisection.

    `meets` must hold at every rate below one at which it holds. The result is one that was tried and met it,
    within 5 % of the capacity of one that did not; None where no rate that was tried met it. A rate above the
    capacity only fills the queue for as long as one looks, so none is tried.
    """
    if meets(capacity):
        return capacity
    low, high = 0.0, capacity
    while high - low > _RATE_STEP * capacity:
        middle = (low + high) / 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low or None
