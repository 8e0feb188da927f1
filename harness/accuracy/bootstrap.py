"""Intervals of CER and of CER differences, by a bootstrap over documents.

Pages of one document share typeface, paper and scanner, so documents are drawn, never their pages, as long as
there are enough of them. Blank pages have no error rate and take no part.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.accuracy.scores import PageScore
from harness.values import Interval

MIN_DOCUMENTS = 5
"""With fewer documents pages are drawn, as so few documents allow only a handful of different draws.
The interval then speaks for these documents alone."""
MIN_UNITS = 5
"""With fewer units the draws cannot reach the tails, and Student's t gives the interval."""
_ALPHA = 0.05
_CELLS_AT_ONCE = 4_000_000


def cer_increase(
    a: Sequence[PageScore], b: Sequence[PageScore], *, draws: int = 10_000, seed: int = 0
) -> Interval:
    """CER of `b` minus CER of `a` on the same pages, with its 95 % interval.

    Raises ValueError where the pages differ or none has text to be read.
    """
    first, second = _by_page(a), _by_page(b)
    if first.keys() != second.keys():
        raise ValueError("the two sides were not read from the same pages")
    pairs = [(first[key], second[key]) for key in first]
    if any(p.characters.reference_length != q.characters.reference_length for p, q in pairs):
        raise ValueError("the two sides were scored against different references or profiles")
    increases = [q.characters.errors - p.characters.errors for p, q in pairs]
    return _interval([p for p, _ in pairs], increases, floor=-1.0, draws=draws, seed=seed)


def cer_interval(scores: Sequence[PageScore], *, draws: int = 10_000, seed: int = 0) -> Interval:
    """CER with its 95 % interval. Raises ValueError where no page has text to be read."""
    pages = list(_by_page(scores).values())
    return _interval(pages, [page.characters.errors for page in pages], floor=0.0, draws=draws, seed=seed)


def draws_documents(scores: Sequence[PageScore]) -> bool:
    """Whether intervals over these pages draw documents. If not, they say nothing of other documents."""
    return len({(page.set, page.document) for page in scores if page.has_reference}) >= MIN_DOCUMENTS


def _by_page(scores: Sequence[PageScore]) -> dict[tuple[str, str], PageScore]:
    pages = {(score.set, score.page_id): score for score in scores}
    if len(pages) != len(scores):
        raise ValueError("a page was scored twice")
    return {key: page for key, page in pages.items() if page.has_reference}


def _interval(
    pages: Sequence[PageScore], errors: Sequence[int], *, floor: float, draws: int, seed: int
) -> Interval:
    """Interval of the ratio of sums. `floor` is the least value it can have if at most all is misread."""
    if not pages:
        raise ValueError("no page has text to be read")
    whole = draws_documents(pages)
    units = [(page.set, page.document if whole else page.page_id) for page in pages]
    index = {unit: position for position, unit in enumerate(sorted(set(units)))}
    numerators, lengths = np.zeros(len(index)), np.zeros(len(index))
    for unit, page, count in zip(units, pages, errors, strict=True):
        numerators[index[unit]] += count
        lengths[index[unit]] += page.characters.reference_length
    return ratio_interval(numerators, lengths, floor=floor, draws=draws, seed=seed)


def ratio_interval(
    numerators: NDArray[np.float64],
    lengths: NDArray[np.float64],
    *,
    floor: float = -1.0,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The sum of `numerators` over that of `lengths`, one of each a unit, with its 95 % interval."""
    value = float(numerators.sum() / lengths.sum())
    if len(lengths) == 1:
        return Interval(value, min(floor, value), max(1.0, value))
    if len(lengths) < MIN_UNITS:
        half = _student_half_width(numerators, lengths)
        return Interval(value, value - half, value + half)
    low, high = _percentiles(_draw_ratios(numerators, lengths, draws, seed), len(lengths))
    return Interval(value, min(low, value), max(high, value))


def _student_half_width(numerators: NDArray[np.float64], lengths: NDArray[np.float64]) -> float:
    """Half width of the 95 % interval of a ratio of sums (Cochran, Sampling Techniques, chapter 6)."""
    n = len(lengths)
    residuals = numerators - numerators.sum() / lengths.sum() * lengths
    standard_error = np.sqrt(n / (n - 1) * np.sum(residuals**2)) / lengths.sum()
    return float(stats.t.ppf(1 - _ALPHA / 2, n - 1) * standard_error)


def _draw_ratios(
    numerators: NDArray[np.float64], lengths: NDArray[np.float64], draws: int, seed: int
) -> NDArray[np.float64]:
    """`draws` ratios, each over as many units as there are, drawn with replacement."""
    rng, n = np.random.default_rng(seed), len(lengths)
    chunk = max(1, _CELLS_AT_ONCE // n)
    ratios = []
    for start in range(0, draws, chunk):
        drawn = rng.integers(0, n, size=(min(chunk, draws - start), n))
        ratios.append(numerators[drawn].sum(axis=1) / lengths[drawn].sum(axis=1))
    return np.concatenate(ratios)


def _percentiles(ratios: NDArray[np.float64], n: int) -> tuple[float, float]:
    """The expanded percentile interval, which makes up for the narrowness of small samples.

    The tail is that of the normal distribution beyond sqrt(n / (n - 1)) times Student's t quantile.
    Source: Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69 (2015).
    """
    tail = stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf(_ALPHA / 2, n - 1))
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return float(low), float(high)
