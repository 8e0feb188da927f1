"""Intervals and verdicts from paired rounds. Pure."""

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev

import numpy as np

from harness.values import Interval, Verdict

ALPHA = 0.05
DIFFERENCE_ALPHA = 0.01
"""Of a verdict that can be asked for as often as one likes: a difference that is none sets people to work."""
SAME_WITHIN = math.log(1.03)
"""Two variants whose whole interval lies within 3 % are the same for every practical purpose."""
MIN_ROUNDS = 3
_PRIOR_PRECISION = 0.1
_MOST_DEVIATIONS = 2.0
_SD_PER_MAD = 1.4826
"""Standard deviation of a normal variate over its median absolute deviation."""


def confidence_sequence(values: Sequence[float], alpha: float = ALPHA) -> Interval:
    """The mean of `values` with an interval that stays valid however often one looks and stops.

    The inversion of the t-test e-process with a N(0, 1/g) prior on the standardised effect and the right Haar
    prior on the scale (Goenen et al. 2005; Lindon et al., arXiv 2210.08589): with n values, nu = n - 1 and
    r = g / (g + n), the interval holds every mean whose t satisfies

        ((1 + r t^2 / nu) / (1 + t^2 / nu)) ** (n / 2) >= alpha sqrt(r).

    Too few values give an infinite interval. Raises ValueError without any value.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    n, mean = len(values), fmean(values)
    r = _PRIOR_PRECISION / (_PRIOR_PRECISION + n)
    c = (alpha * alpha * r) ** (1 / n)
    if n < MIN_ROUNDS or c <= r:
        return Interval(mean, -math.inf, math.inf)
    t = math.sqrt((n - 1) * (1 - c) / (c - r))
    half = t * stdev(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def speedup(log_ratios: Sequence[float], *, sequential: bool, alpha: float = ALPHA) -> Interval:
    """The throughput of B over A from the rounds' log(t_A / t_B), with its interval at level 1 - `alpha`.

    `sequential` where the results decide how many rounds there are; Student's interval is narrower, and honest
    only where they do not.
    """
    if not log_ratios:
        return Interval(math.nan, 0.0, math.inf)
    log = confidence_sequence(log_ratios, alpha) if sequential else mean_interval(log_ratios, alpha)
    return Interval(math.exp(log.value), math.exp(log.low), math.exp(log.high))


def verdict(interval: Interval) -> Verdict:
    """What the interval of a speed-up (a ratio) allows to say."""
    if interval.low > 1:
        return Verdict.FASTER
    if interval.high < 1:
        return Verdict.SLOWER
    return Verdict.SAME if _is_trifling(interval) else Verdict.INCONCLUSIVE


def running_verdict(log_ratios: Sequence[float]) -> Verdict:
    """The verdict by the rounds so far, asked for after each until there is one.

    Of two that are equal, FASTER or SLOWER is said in at most one comparison of a hundred, however long it goes on; a
    difference of less than 3 % is SAME where only the interval of 95 % tells it.
    """
    found = verdict(speedup(log_ratios, sequential=True, alpha=DIFFERENCE_ALPHA))
    if found in (Verdict.FASTER, Verdict.SLOWER):
        return found
    return Verdict.SAME if _is_trifling(speedup(log_ratios, sequential=True)) else Verdict.INCONCLUSIVE


def _is_trifling(interval: Interval) -> bool:
    return math.exp(-SAME_WITHIN) <= interval.low and interval.high <= math.exp(SAME_WITHIN)


def round_value(log_ratios: Sequence[float]) -> float:
    """One round's value: the median over its blocks, which one disturbed block cannot move."""
    return median(log_ratios)


def round_totals(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> list[float]:
    """Each round's log(total of the first side / total of the second), which a disturbed block can hardly move.

    Both hold a row a round with the totals of the same blocks, all above 0. Blocks differ in their ratio, and a long
    one counts for more: the median of their ratios is another figure than the ratio of the totals. So each block is
    held against its own median over the rounds, what the round as a whole gained taken out, and what strays by more
    than two standard deviations counts as two (Huber's score, one step from the medians).
    """
    ratios = np.log(np.array(first) / np.array(second))
    usual = np.median(ratios, axis=0)
    gained = np.median(ratios - usual, axis=1, keepdims=True)
    strayed = ratios - usual - gained
    most = _MOST_DEVIATIONS * _SD_PER_MAD * np.median(np.abs(strayed))
    costs = np.median(np.array(first), axis=0) * np.exp([np.zeros_like(usual), -usual])
    shares = costs / costs.sum(axis=1, keepdims=True)
    total = math.log(costs[0].sum() / costs[1].sum())
    values = total + gained[:, 0] + np.clip(strayed, -most, most) @ shares.mean(axis=0)
    return [float(value) for value in values]


def percentile_pages(p: float) -> int:
    """Pages needed before the p-th percentile means anything.

    With n pages, the largest exceeds the p-th percentile with probability 1 - (p/100)^n; p99 for 99 % confidence
    that two pages lie beyond it needs 662, p95 130 (MEASURING protocol). p50 is always shown.
    """
    return {50: 1, 90: 64, 95: 130, 99: 662}[int(p)]


def percentile(values: Sequence[float], p: float) -> float | None:
    """The p-th percentile (nearest rank), or None where there are too few values for it."""
    if len(values) < percentile_pages(p):
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(p / 100 * len(ordered)) - 1)]


def mean_interval(values: Sequence[float], alpha: float = ALPHA) -> Interval:
    """The mean of independent values with its Student interval; infinite for fewer than two."""
    mean = fmean(values)
    if len(values) < 2:
        return Interval(mean, -math.inf, math.inf)
    half = half_width(stdev(values), len(values), alpha)
    return Interval(mean, mean - half, mean + half)


def half_width(sd: float, count: int, alpha: float = ALPHA) -> float:
    """Of Student's interval of the mean of so many values (two at least) that deviate by `sd`."""
    from scipy.stats import t  # noqa: PLC0415  scipy takes longer to load than `tune --help` may take

    return float(t.ppf(1 - alpha / 2, count - 1)) * sd / math.sqrt(count)
