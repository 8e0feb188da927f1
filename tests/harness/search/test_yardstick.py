import math
from collections.abc import Mapping

import pytest

from harness.objectives import ENERGY, LATENCY, THROUGHPUT
from harness.search.yardstick import Pass, gain_sd, page_shares, page_totals, usual_shares
from harness.values import Block, Measurement, PageRecord


def block(seconds: Mapping[str, float], wall_s: float, energy_j: float | None = None) -> Block:
    return Block(tuple(PageRecord(page, (), s, {}) for page, s in seconds.items()), wall_s, energy_j=energy_j)


def test_each_block_is_shared_out_among_its_pages_by_their_time() -> None:
    measured = Measurement(1.0, (block({"a": 3.0, "b": 1.0}, 2.0), block({"c": 1.0}, 6.0)), ())
    assert page_totals(measured, THROUGHPUT) == pytest.approx({"a": 1.5, "b": 0.5, "c": 6.0})
    assert page_totals(measured, LATENCY) == pytest.approx({"a": 3.0, "b": 1.0, "c": 1.0})
    assert sum(page_shares(measured, THROUGHPUT).values()) == pytest.approx(1.0)


@pytest.mark.parametrize("energy_j", [None, 0.0])
def test_what_no_counter_told_is_shared_evenly(energy_j: float | None) -> None:
    measured = Measurement(1.0, (block({"a": 3.0, "b": 1.0}, 2.0, energy_j),), ())
    assert page_shares(measured, ENERGY) == {"a": 0.5, "b": 0.5}


def test_pages_that_took_no_time_are_no_error() -> None:
    measured = Measurement(1.0, (block({"a": 0.0}, 2.0), block({"b": 1.0}, 2.0)), ())
    assert page_shares(measured, THROUGHPUT) == {"a": 0.0, "b": 1.0}


def test_pages_deviate_in_their_gain_whatever_the_gain_is() -> None:
    slow = Measurement(1.0, (block({"a": 4.0, "b": 2.0, "c": 2.0, "d": 0.0}, 8.0),), ())
    alike = Measurement(1.0, (block({"c": 0.5, "b": 0.5, "a": 1.0}, 2.0),), ())
    assert gain_sd(slow, alike, THROUGHPUT) == pytest.approx(0.0)
    unlike = Measurement(1.0, (block({"a": 1.0, "b": 1.0, "d": 1.0}, 3.0),), ())
    assert gain_sd(slow, unlike, THROUGHPUT) == pytest.approx(math.log(2) / math.sqrt(2))
    assert gain_sd(slow, Measurement(1.0, (block({"a": 1.0}, 1.0),), ()), THROUGHPUT) == 0.0


def test_the_usual_shares_are_those_of_variants_about_as_fast() -> None:
    slow = Pass(0.0, {"a": 0.5, "b": 0.5})
    fast = [Pass(math.log(6), {"a": 0.8, "b": 0.2}), Pass(math.log(7), {"a": 0.6, "b": 0.4})]
    assert usual_shares([slow, *fast], math.log(6.5)) == pytest.approx({"a": 0.7, "b": 0.3})
    assert usual_shares([slow, *fast], 0.1) == slow.shares
    assert usual_shares([slow], math.log(6.5)) == slow.shares  # nothing nearer is known
