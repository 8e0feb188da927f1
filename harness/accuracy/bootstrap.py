"""Intervals of CER and of CER differences, by a bootstrap over documents.

Pages of one document share typeface, paper and scanner, so documents are drawn, never their pages, as long as
there are enough of them; and within their data set, whose share of the pages is no accident. Blank pages have no
error rate and take no part.
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
MIN_STRATUM = 3
"""Of fewer units a variance is a guess, so small sets are drawn together."""
MIN_FREEDOM = 4.0
"""With fewer degrees of freedom the draws cannot reach the tails, and Student's t gives the interval."""
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


def cer_increase_by_set(a: Sequence[PageScore], b: Sequence[PageScore]) -> dict[str, Interval]:
    """`cer_increase` of each data set that has text to be read, where there are several."""
    names = sorted({score.set for score in a if score.has_reference})
    if len(names) < 2:
        return {}
    sides = ({name: [score for score in side if score.set == name] for name in names} for side in (a, b))
    first, second = sides
    return {name: cer_increase(first[name], second[name]) for name in names}


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
    sets = [name for name, _ in index]
    return ratio_interval(numerators, lengths, sets, floor=floor, draws=draws, seed=seed)


def ratio_interval(
    numerators: NDArray[np.float64],
    lengths: NDArray[np.float64],
    sets: Sequence[str],
    *,
    floor: float = -1.0,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The sum of `numerators` over that of `lengths`, one of each a unit of one of `sets`, with its 95 % interval.

    How the sets are mixed is the user's choice and no accident: units are drawn within their set, and each set keeps
    its share of the length, whatever the lengths that are drawn. The variance is that of a separate ratio estimate
    (Cochran, Sampling Techniques, section 6.10), its degrees of freedom are those of Satterthwaite, and draws are
    those of Rao and Wu (JASA 83, 1988), which are as wide as that variance.
    """
    value = float(numerators.sum() / lengths.sum())
    if len(lengths) == 1:
        return Interval(value, min(floor, value), max(1.0, value))
    strata = _strata(sets, lengths)
    variances = np.array([_variance(numerators[units], lengths[units]) for units in strata])
    if not variances.any():
        return Interval(value, value, value)
    sizes = np.array([len(units) for units in strata])
    freedom = variances.sum() ** 2 / np.sum(variances**2 / (sizes - 1))
    quantile = stats.t.ppf(1 - _ALPHA / 2, freedom)
    if freedom < MIN_FREEDOM:
        half = float(quantile * np.sqrt(variances.sum()) / lengths.sum())
        return Interval(value, value - half, value + half)
    # The expanded percentile interval, which makes up for the narrowness of small samples. Source: Hesterberg, What
    # Teachers Should Know About the Bootstrap, The American Statistician 69 (2015).
    tail = stats.norm.cdf(-quantile)
    low, high = np.quantile(_draw_ratios(numerators, lengths, strata, draws, seed), [tail, 1 - tail])
    return Interval(value, min(float(low), value), max(float(high), value))


def _variance(numerators: NDArray[np.float64], lengths: NDArray[np.float64]) -> float:
    """Of the sum of `numerators` where the sum of `lengths` is given."""
    residuals = numerators - numerators.sum() / lengths.sum() * lengths
    return float(len(lengths) * residuals.var(ddof=1))


def _strata(sets: Sequence[str], lengths: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Indices of the units of each set; sets of very few or of no length are drawn with the next larger one."""
    members: dict[str, list[int]] = {}
    for unit, name in enumerate(sets):
        members.setdefault(name, []).append(unit)
    strata: list[list[int]] = []
    for _, units in sorted(members.items(), key=lambda item: (lengths[item[1]].any(), len(item[1]), item[0])):
        if strata and (len(strata[-1]) < MIN_STRATUM or not lengths[strata[-1]].any()):
            strata[-1] += units
        else:
            strata.append(units)
    return [np.array(units) for units in strata]


def _draw_ratios(
    numerators: NDArray[np.float64],
    lengths: NDArray[np.float64],
    strata: Sequence[NDArray[np.intp]],
    draws: int,
    seed: int,
) -> NDArray[np.float64]:
    """At most `draws` ratios: of each stratum one unit fewer than it has, with replacement."""
    rng = np.random.default_rng(seed)
    chunk = max(1, _CELLS_AT_ONCE // len(lengths))
    ratios = []
    for start in range(0, draws, chunk):
        count = min(chunk, draws - start)
        whole, told = np.zeros(count), np.ones(count, dtype=bool)
        for units in strata:
            drawn = units[rng.integers(0, len(units), size=(count, len(units) - 1))]
            tops, bottoms = numerators[drawn].sum(axis=1), lengths[drawn].sum(axis=1)
            told &= bottoms > 0  # a draw of blank pages has no ratio
            whole += lengths[units].sum() / lengths.sum() * tops / np.where(told, bottoms, 1.0)
        ratios.append(whole[told])
    return np.concatenate(ratios)
