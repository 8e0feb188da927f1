import math
import random
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy import stats as scipy_stats

from harness import stats
from harness.values import Interval, Verdict


def e_value(values: list[float], mean: float, g: float = 0.1) -> float:
    """Bayes factor of the t-test with a N(0, 1/g) effect, by numerical integration over the effect.

    Gaussian data with unknown scale and right Haar prior: the likelihood of the t statistic given the effect is a
    noncentral t (Goenen et al. 2005).
    """
    n = len(values)
    t = math.sqrt(n) * (fmean(values) - mean) / stdev(values)
    effects = np.linspace(-40, 40, 20_001)
    weights = scipy_stats.norm.pdf(effects, scale=1 / math.sqrt(g))
    alternative = np.trapezoid(scipy_stats.nct.pdf(t, n - 1, effects * math.sqrt(n)) * weights, effects)
    return float(alternative / scipy_stats.t.pdf(t, n - 1))


@pytest.mark.parametrize("n", [5, 10, 25])
def test_the_ends_of_a_confidence_sequence_are_where_the_evidence_reaches_1_over_alpha(n: int) -> None:
    draw = random.Random(n)
    values = [draw.gauss(0.1, 0.05) for _ in range(n)]
    interval = stats.confidence_sequence(values)
    assert e_value(values, interval.low) == pytest.approx(1 / stats.ALPHA, rel=1e-3)
    assert e_value(values, interval.high) == pytest.approx(1 / stats.ALPHA, rel=1e-3)


def test_looking_after_every_round_is_wrong_in_fewer_than_5_percent_of_comparisons() -> None:
    draw = random.Random(1)
    wrong = 0
    for _ in range(400):
        values: list[float] = []
        for _ in range(40):
            values.append(draw.gauss(0.0, 0.03))
            interval = stats.confidence_sequence(values)
            if interval.low > 0 or interval.high < 0:
                wrong += 1
                break
    assert wrong <= 20


def test_a_5_percent_difference_is_found_within_20_rounds_of_3_percent_noise() -> None:
    draw = random.Random(2)
    found = 0
    for _ in range(100):
        values = [draw.gauss(math.log(1.05), 0.03) for _ in range(20)]
        found += stats.confidence_sequence(values).low > 0
    assert found >= 95


def first_verdict(mean: float, sd: float, draw: random.Random) -> Verdict:
    """Of rounds until there is one, asked for after each."""
    values = [draw.gauss(mean, sd) for _ in range(4)]
    while len(values) < 40:
        values.append(draw.gauss(mean, sd))
        if (found := stats.running_verdict(values)) is not Verdict.INCONCLUSIVE:
            return found
    return Verdict.INCONCLUSIVE


@pytest.mark.parametrize("sd", [0.015, 0.03, 0.045])
def test_equals_are_called_different_in_at_most_1_percent_of_comparisons(sd: float) -> None:
    draw = random.Random(3)
    found = [first_verdict(0.0, sd, draw) for _ in range(400)]
    assert found.count(Verdict.FASTER) + found.count(Verdict.SLOWER) <= 4


def test_a_difference_that_counts_is_called_one() -> None:
    draw = random.Random(4)
    assert [first_verdict(math.log(1.05), 0.02, draw) for _ in range(50)].count(Verdict.FASTER) >= 49
    assert [first_verdict(-math.log(1.05), 0.02, draw) for _ in range(50)].count(Verdict.SLOWER) >= 49


def test_what_only_95_percent_tell_apart_is_a_difference_no_more() -> None:
    large = [0.05 + off for off in (0.03, -0.01, -0.03, 0.01, 0.02, -0.02)]
    small = [value / 5 for value in large]
    for values in (large, small):
        assert stats.verdict(stats.speedup(values, sequential=True)) is Verdict.FASTER
    assert stats.running_verdict(large) is Verdict.INCONCLUSIVE
    assert stats.running_verdict(small) is Verdict.SAME


def test_too_few_rounds_say_nothing() -> None:
    assert stats.confidence_sequence([0.5, 0.5]) == Interval(0.5, -math.inf, math.inf)
    assert stats.verdict(stats.speedup([0.5], sequential=True)) is Verdict.INCONCLUSIVE
    assert stats.verdict(stats.speedup([], sequential=False)) is Verdict.INCONCLUSIVE


def test_no_value_is_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one"):
        stats.confidence_sequence([])


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.001, 1.4, Verdict.FASTER),
        (0.7, 0.999, Verdict.SLOWER),
        (0.98, 1.02, Verdict.SAME),
        (0.96, 1.02, Verdict.INCONCLUSIVE),
        (0.5, 2.0, Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts_follow_the_whole_interval(low: float, high: float, verdict: Verdict) -> None:
    assert stats.verdict(Interval((low * high) ** 0.5, low, high)) is verdict


def test_the_mean_interval_is_students() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    expected = scipy_stats.t.interval(0.95, 3, fmean(values), stdev(values) / 2)
    interval = stats.mean_interval(values)
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_a_percentile_needs_its_pages() -> None:
    assert stats.percentile([1.0] * 129, 95) is None
    assert stats.percentile([float(i) for i in range(1, 201)], 95) == 190.0
    assert stats.percentile([3.0], 50) == 3.0
    assert stats.percentile([1.0] * 661, 99) is None


def _read_by_both(
    draw: np.random.Generator, rounds: int, blocks: int
) -> tuple[float, list[list[list[float]]]]:
    """The true log-ratio of the totals, and totals of both sides by round and block.

    Blocks differ in length and gain, rounds in luck, and one block in ten is disturbed on one side.
    """
    first = np.exp(draw.normal(0, 0.5, blocks))
    second = first * np.exp(draw.normal(0, 0.3, blocks))
    shape = (rounds, blocks)

    def seen(usual: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[list[float]]:
        disturbed = (draw.random(shape) < 0.05) * draw.exponential(0.3, shape)
        logs = draw.normal(0, 0.03, shape) + disturbed + draw.normal(0, 0.01, (rounds, 1))
        return [[float(each) for each in row] for row in usual * np.exp(logs)]

    return math.log(first.sum() / second.sum()), [seen(first), seen(second)]


def test_a_rounds_value_is_the_ratio_of_the_totals_though_blocks_gain_differently() -> None:
    first, second = [[1.0, 1.0, 8.0]] * 4, [[0.5, 0.5, 8.0]] * 4
    assert stats.round_totals(first, second) == pytest.approx([math.log(10 / 9)] * 4)


def test_a_disturbed_block_hardly_moves_its_round() -> None:
    draw = np.random.default_rng(0)
    _, (first, second) = _read_by_both(draw, 6, 9)
    calm = stats.round_totals(first, second)
    first[2][4] *= 5
    moved = stats.round_totals(first, second)
    assert moved[2] - calm[2] < 0.1 * math.log(5)
    assert moved[:2] + moved[3:] == pytest.approx(calm[:2] + calm[3:], abs=0.02)


@pytest.mark.parametrize("rounds", [4, 8])
def test_the_interval_of_the_totals_holds_the_truth_where_that_of_medians_does_not(rounds: int) -> None:
    draw = np.random.default_rng(rounds)
    held = dict.fromkeys(("totals", "medians"), 0)
    for _ in range(400):
        truth, (first, second) = _read_by_both(draw, rounds, 9)
        medians = [
            stats.round_value([math.log(a / b) for a, b in zip(*sides, strict=True)])
            for sides in zip(first, second, strict=True)
        ]
        for name, values in (("totals", stats.round_totals(first, second)), ("medians", medians)):
            interval = stats.mean_interval(values)
            held[name] += interval.low <= truth <= interval.high
    assert held["totals"] >= 0.91 * 400
    assert held["medians"] <= 0.8 * 400
