"""What an objective makes of blocks, against sums by hand."""

import math
from dataclasses import replace

import pytest

from harness import objectives
from harness.errors import UserError
from harness.objectives import ENERGY, LATENCY, THROUGHPUT, cost, objective, server
from harness.scenarios import Traffic
from harness.values import Block, Measurement, PageRecord


def block(wall_s: float, latencies_s: list[float], energy_j: float | None = None) -> Block:
    pages = tuple(PageRecord(f"p{i}", (), seconds, {}) for i, seconds in enumerate(latencies_s))
    return Block(pages, wall_s, energy_j)


BLOCKS = [block(2.0, [1.0, 1.5], 30.0), block(3.0, [0.5, 2.5], 50.0)]


def test_totals_are_what_their_objective_asks_for() -> None:
    assert THROUGHPUT.total(BLOCKS) == 5.0
    assert LATENCY.total(BLOCKS) == server(2.0).total(BLOCKS) == 5.5
    assert ENERGY.total(BLOCKS) == 80.0
    assert cost(7.2).total(BLOCKS) == pytest.approx(5.0 * 7.2 / 3600)


def test_what_replicas_had_left_at_the_end_of_a_block_is_no_part_of_throughput() -> None:
    paused = [replace(BLOCKS[0], spare_s=0.5), BLOCKS[1]]
    assert THROUGHPUT.total(paused) == 4.5
    assert cost(7.2).total(paused) == pytest.approx(4.5 * 7.2 / 3600)
    assert Measurement(1.0, tuple(paused)).pages_per_second == pytest.approx(4 / 4.5)
    assert ENERGY.total(paused) == ENERGY.total(BLOCKS)


def test_a_block_without_energy_is_never_thrifty() -> None:
    assert ENERGY.total([*BLOCKS, block(1.0, [1.0])]) == math.inf


def test_each_objective_sends_pages_in_its_own_way() -> None:
    traffic = {
        found.name: found.scenario.traffic for found in (THROUGHPUT, LATENCY, ENERGY, server(2.5), cost(1.0))
    }
    assert traffic == {
        "throughput": Traffic.OFFLINE,
        "latency": Traffic.SINGLE,
        "energy": Traffic.OFFLINE,
        "server": Traffic.SERVER,
        "cost": Traffic.OFFLINE,
    }
    assert set(traffic) == set(objectives.NAMES)
    assert server(2.5).scenario.rate == 2.5


@pytest.mark.parametrize(
    ("name", "rate", "price", "words"),
    [
        ("server", None, None, "needs --rate"),
        ("cost", None, None, "needs --price-per-hour"),
        ("throughput", 2.0, None, "--rate belongs to --objective server"),
        ("latency", None, 2.0, "--price-per-hour belongs to --objective cost"),
        ("server", 0.0, None, "--rate must be a number above 0"),
        ("cost", None, math.nan, "--price-per-hour must be a number above 0"),
        ("sped", None, None, "unknown objective"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    name: str, rate: float | None, price: float | None, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        objective(name, rate=rate, price_per_hour=price)
