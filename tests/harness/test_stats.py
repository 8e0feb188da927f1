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
