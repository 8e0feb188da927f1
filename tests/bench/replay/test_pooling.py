"""True speeds from noisy rounds, against a model whose true speeds are known."""

import itertools
import math
import random
from statistics import fmean, stdev

import pytest

from tests.bench.replay.pooling import Pooled, pooled

POINTS = list(itertools.product("ab", "ab", (1, 2, 4), (0, 1, 2), "xy"))
NOISE = 0.05


def true_log_speed(point: tuple[object, ...], own_sd: float) -> float:
    """Effects of single knobs, of a pair, and of each variant by itself."""
    first, second, calls, ahead, last = point
    own = random.Random(repr(point)).gauss(0, own_sd)
    together = 0.3 if (first, second) == ("b", "b") else 0.0
    steps = {0: 0.0, 1: 0.05, 2: 0.04, 4: 0.02}
    return together + steps[int(str(calls))] + 2 * steps[int(str(ahead))] + (0.1 if last == "y" else 0) + own


def measured(own_sd: float, rounds: int, seed: int = 0) -> tuple[list[float], list[list[float]]]:
    draw = random.Random(seed)
    true = [true_log_speed(point, own_sd) for point in POINTS]
    return true, [[speed + draw.gauss(0, NOISE) for _ in range(rounds)] for speed in true]


def error(true: list[float], found: list[float]) -> float:
    """Deviation of what was found, but for a shift of all."""
    return stdev(a - b for a, b in zip(true, found, strict=True))


def raw(rounds: list[list[float]]) -> list[float]:
    return list(map(fmean, rounds))


@pytest.mark.parametrize(("own_sd", "of_raw"), [(0.0, 0.65), (0.02, 0.75)])
def test_relatives_take_much_of_the_noise_of_a_round_or_two(own_sd: float, of_raw: float) -> None:
    true, rounds = measured(own_sd, 2)
    found = pooled(POINTS, rounds)
    assert error(true, list(found.log_speeds)) < of_raw * error(true, raw(rounds))
    assert found.noise_sd == pytest.approx(NOISE, rel=0.25)


def test_what_is_a_variants_own_is_kept_where_its_rounds_show_it() -> None:
    true, rounds = measured(0.15, 3)
    found = pooled(POINTS, rounds)
    assert found.own_sd > 2 * found.noise_sd
    assert error(raw(rounds), list(found.log_speeds)) < 0.25 * 0.15
    assert error(true, list(found.log_speeds)) <= error(true, raw(rounds))


def test_the_luckiest_of_equals_is_not_taken_for_the_fastest() -> None:
    draw = random.Random(1)
    rounds = [[draw.gauss(0.0, NOISE) for _ in range(2)] for _ in POINTS]
    assert max(raw(rounds)) > 0.06
    assert max(pooled(POINTS, rounds).log_speeds) < 0.03


def test_deviations_are_as_wide_as_the_noise_though_a_round_each_says_nothing_of_it() -> None:
    found = pooled(POINTS, measured(0.0, 1)[1])
    assert len(found.deviations) == len(POINTS)
    assert math.sqrt(fmean(off**2 for off in found.deviations)) == pytest.approx(found.noise_sd)


def test_more_rounds_of_some_variants_weigh_more() -> None:
    _, rounds = measured(0.0, 1)
    rounds[0] = [0.5 + off for off in (-0.05, 0.05) * 10]
    rounds[1] = [0.5]
    found: Pooled = pooled(POINTS, rounds)
    assert abs(found.log_speeds[0] - 0.5) < abs(found.log_speeds[1] - 0.5)
