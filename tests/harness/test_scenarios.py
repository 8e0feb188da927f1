"""Arrivals against their distribution, the highest rate against a queue that is simulated by brute force."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from harness.scenarios import allowed_late, highest_rate, late, poisson_arrivals_s
from harness.stats import percentile


def test_gaps_between_arrivals_are_exponential_with_the_mean_of_the_rate() -> None:
    arrivals = poisson_arrivals_s(2.5, 2000, seed=7)
    gaps = [after - before for before, after in pairwise((0.0, *arrivals))]
    assert kstest(gaps, "expon", args=(0, 1 / 2.5)).pvalue > 0.01
    assert kstest(gaps, "expon", args=(0, 1 / 2.0)).pvalue < 0.001


def test_the_same_seed_gives_the_same_arrivals_on_the_scale_of_the_rate() -> None:
    slow, fast = poisson_arrivals_s(1.0, 50, "a"), poisson_arrivals_s(4.0, 50, "a")
    assert slow == pytest.approx([4 * at for at in fast])
    assert slow != poisson_arrivals_s(1.0, 50, "b")


@given(st.integers(662, 1500), st.integers(0, 30))
def test_few_enough_are_late_exactly_where_p99_is_within_the_bound(requests: int, slow: int) -> None:
    latencies, bound = [2.0] * slow + [1.0] * (requests - slow), 1.5
    p99 = percentile(latencies, 99)
    assert p99 is not None
    assert (late(latencies, bound) <= allowed_late(len(latencies))) == (p99 <= bound)


def queue(service_s: float, bound_s: float, requests: int = 700) -> Callable[[float], bool]:
    """Whether one server of constant service time meets p99 at a rate: Lindley's recursion."""

    def meets(rate: float) -> bool:
        free_s = 0.0
        latencies = []
        for arrival_s in poisson_arrivals_s(rate, requests, seed=0):
            free_s = max(free_s, arrival_s) + service_s
            latencies.append(free_s - arrival_s)
        return late(latencies, bound_s) <= allowed_late(requests)

    return meets


@pytest.mark.parametrize("bound_s", [0.21, 0.3, 0.5, 1.0])
def test_the_highest_rate_is_that_of_a_fine_grid_of_the_same_queue(bound_s: float) -> None:
    meets = queue(0.1, bound_s)
    found = highest_rate(meets, capacity=10.0)
    grid = max(rate / 100 for rate in range(1, 1000) if meets(rate / 100))
    assert found is not None
    assert meets(found)
    assert grid - 0.5 <= found <= grid + 0.01


def test_no_rate_meets_a_bound_below_the_service_time() -> None:
    assert highest_rate(queue(0.1, 0.09), capacity=10.0) is None


def test_a_bound_that_the_capacity_meets_gives_the_capacity() -> None:
    assert highest_rate(queue(0.1, math.inf), capacity=10.0) == 10.0


def test_a_lower_rate_is_met_where_a_higher_one_is() -> None:
    meets = queue(0.1, 0.4)
    verdicts = [meets(rate / 10) for rate in range(10, 100)]
    assert verdicts == sorted(verdicts, reverse=True)
