"""From paired rounds to the joint verdict of a check. Pure.

Throughput gates: its interval stays valid however many rounds were looked at. The other metrics are tested once,
with Holm's correction, and each must be both surely and noticeably worse to count as a regression.

Accuracy and volume come from text, which hardly varies: they pass only where they are proven to be within their
tolerance. Memory and cold start vary with whatever else the machine does, and one data set has few pages: they pass
unless they are seen to be beyond theirs, so that a noisy night leaves no verdict open on their account.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

import numpy as np

from harness import stats
from harness.accuracy.bootstrap import draws_documents, ratio_interval
from harness.accuracy.scores import PageScore
from harness.values import Interval, Round

ALPHA = 0.05
_MIN_DOCUMENTS = 10
"""With fewer documents no exact test could reach a corrected level: pages are the units then."""
_RESAMPLES = 9999
_MOST_FLIPS = 1_000_000
"""Signs that are held in memory at once."""


class Outcome(StrEnum):
    """What may be said of one metric, or of all."""

    PASS = "pass"  # noqa: S105  a verdict
    INCONCLUSIVE = "inconclusive"
    REGRESSION = "regression"


@dataclass(frozen=True, slots=True)
class Finding:
    """One metric of both sides."""

    name: str
    unit: str
    baseline: float
    current: float
    worse: Interval
    """By how much the current side is worse: a share of the baseline, or a difference of error rates."""
    tolerance: float
    """The worsening that counts."""
    outcome: Outcome
    p: float | None = None
    """Chance of such a worsening where there is none, after Holm's correction; None for throughput."""


def joint(findings: Sequence[Finding]) -> Outcome:
    """The verdict of all: the worst of them. Raises ValueError for none."""
    if not findings:
        raise ValueError("a verdict needs at least one finding")
    outcomes = {finding.outcome for finding in findings}
    return next(
        outcome for outcome in (Outcome.REGRESSION, Outcome.INCONCLUSIVE, Outcome.PASS) if outcome in outcomes
    )


def speed_outcome(log_ratios: Sequence[float], max_slowdown: float) -> Outcome:
    """The gate: `log_ratios` are the rounds' log(t_baseline / t_current), `max_slowdown` a share such as 0.05.

    It passes where the whole interval lies above the bound. It is a regression where the whole interval of 99 % lies
    below 1, for a false alarm costs a morning, and the estimate is nearer to the bound than to no change: a slowdown
    that is sure but trifling goes on being measured until it proves to be within the bound.
    """
    ratio = stats.speedup(log_ratios, sequential=True)
    if ratio.low > 1 - max_slowdown:
        return Outcome.PASS
    surely = stats.speedup(log_ratios, sequential=True, alpha=stats.DIFFERENCE_ALPHA)
    if surely.high < 1 and ratio.value <= 1 - max_slowdown / 2:
        return Outcome.REGRESSION
    return Outcome.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How much worse each metric may be, as a share; what is surely worse by more is a regression."""

    max_slowdown: float = 0.05
    """Loss of throughput that still passes, as a share below 1."""
    max_cer_increase: float = 0.002
    """Increase of CER that still passes, of all pages and of each data set."""
    max_wer_increase: float = 0.01
    """Increase of WER that still passes."""
    max_volume_change: float = 0.01
    """Characters or lines a page, more or fewer, that still pass, as a share."""
    max_memory_increase: float = 0.10
    """Increase of peak memory that still passes, as a share."""
    max_cold_start_increase: float = 0.25
    """Increase of the time to the first page that still passes, as a share."""


def findings(
    rounds: Sequence[Round],
    baseline: Sequence[PageScore],
    current: Sequence[PageScore],
    failed: tuple[int, int],
    tolerances: Tolerances,
) -> tuple[Finding, ...]:
    """Every metric of two sides: side 0 of `rounds` is the baseline, whose pages are those of `current`.

    `failed` counts the pages on which the engine failed on either side. Raises ValueError without a round.
    """
    if not rounds:
        raise ValueError("a verdict needs at least one round")
    secondary = [
        *_accuracy(baseline, current, tolerances),
        *_volume(baseline, current, tolerances),
        *_resources(rounds, tolerances),
    ]
    return (_throughput(rounds, tolerances), _failures(*failed), *_corrected(secondary))


def _throughput(rounds: Sequence[Round], tolerances: Tolerances) -> Finding:
    log_ratios = [result.log_ratios[0] for result in rounds]
    ratio = stats.speedup(log_ratios, sequential=True)
    # A round's pages are those of both sides, and medians are what one disturbed round cannot move.
    rates = [
        median(
            sum(len(block.pages) for block in result.blocks[side])
            / sum(block.busy_s for block in result.blocks[side])
            for result in rounds
        )
        for side in (0, 1)
    ]
    return Finding(
        "throughput",
        "pages/s",
        rates[0],
        rates[1],
        Interval(1 - ratio.value, 1 - ratio.high, 1 - ratio.low),
        tolerances.max_slowdown,
        speed_outcome(log_ratios, tolerances.max_slowdown),
    )


def _failures(baseline: int, current: int) -> Finding:
    more = current - baseline
    outcome = Outcome.REGRESSION if more > 0 else Outcome.PASS
    return Finding("failed_pages", "pages", baseline, current, Interval(more, more, more), 0, outcome)


@dataclass(frozen=True, slots=True)
class _Tested:
    """A secondary metric before the correction."""

    finding: Finding
    p: float
    two_sided: bool = False
    passes_if_unseen: bool = False
    """Passes where no worsening beyond the tolerance is seen, rather than only where there surely is none."""


def _accuracy(a: Sequence[PageScore], b: Sequence[PageScore], tolerances: Tolerances) -> list[_Tested]:
    tested = []
    with_text = [(p, q) for p, q in _pairs(a, b) if p.has_reference]
    if with_text:
        tested.append(_cer("cer", with_text, tolerances))
    sets = {p.set for p, _ in with_text}
    if len(sets) > 1:  # what is gained on one set must not hide what is lost on another
        for name in sorted(sets):
            of_set = _cer(f"cer_{name}", [pair for pair in with_text if pair[0].set == name], tolerances)
            tested.append(replace(of_set, passes_if_unseen=True))
    with_words = [(p, q) for p, q in with_text if p.words and p.words.reference_length]
    if with_words:
        tested.append(
            _paired(
                "wer",
                with_words,
                lambda score: score.words.errors if score.words else 0,
                lambda score: score.words.reference_length if score.words else 0,
                tolerances.max_wer_increase,
            )
        )
    return tested


def _cer(name: str, pairs: Sequence[tuple[PageScore, PageScore]], tolerances: Tolerances) -> _Tested:
    return _paired(
        name,
        pairs,
        lambda score: score.characters.errors,
        lambda score: score.characters.reference_length,
        tolerances.max_cer_increase,
    )


def _volume(a: Sequence[PageScore], b: Sequence[PageScore], tolerances: Tolerances) -> list[_Tested]:
    volumes: dict[str, Callable[[PageScore], int]] = {
        "characters": lambda score: score.characters_out,
        "lines": lambda score: score.lines_out,
    }
    pairs = _pairs(a, b)
    return [
        _paired(name, pairs, volume, volume, tolerances.max_volume_change, is_volume=True)
        for name, volume in volumes.items()
        if any(volume(p) for p, _ in pairs)
    ]


def _pairs(a: Sequence[PageScore], b: Sequence[PageScore]) -> list[tuple[PageScore, PageScore]]:
    second = {score.page_id: score for score in b}
    if len(a) != len(b) or any(score.page_id not in second for score in a):
        raise ValueError("the two sides were not read from the same pages")
    return [(score, second[score.page_id]) for score in a]


def _paired(
    name: str,
    pairs: Sequence[tuple[PageScore, PageScore]],
    value: Callable[[PageScore], int],
    weight: Callable[[PageScore], int],
    tolerance: float,
    *,
    is_volume: bool = False,
) -> _Tested:
    """One deterministic metric: text that is equal on every page is exact evidence, else documents are drawn.

    `weight` is that of the baseline's page: the reference's length, or for a volume the volume itself.
    """
    documents = {(p.set, p.document) for p, _ in pairs}
    whole = len(documents) >= _MIN_DOCUMENTS and draws_documents([p for p, _ in pairs])
    drawn = [(p.set, p.document if whole else p.page_id) for p, _ in pairs]
    index = {unit: position for position, unit in enumerate(sorted(set(drawn)))}
    more, weights = np.zeros(len(index)), np.zeros(len(index))
    for key, (p, q) in zip(drawn, pairs, strict=True):
        more[index[key]] += value(q) - value(p)
        weights[index[key]] += weight(p)
    total = sum(weight(p) for p, _ in pairs)
    per = len(pairs) if is_volume else total
    sides = [sum(value(pair[side]) for pair in pairs) / per for side in (0, 1)]
    if not more.any():
        worse, p_value = Interval(0.0, 0.0, 0.0), 1.0
    else:
        worse = ratio_interval(more, weights, [name for name, _ in index])
        p_value = _sign_flips(more, two_sided=is_volume)
    unit = f"{name}/page" if is_volume else "ratio"
    name = f"{name}_per_page" if is_volume else name
    finding = Finding(name, unit, sides[0], sides[1], worse, tolerance, Outcome.INCONCLUSIVE)
    return _Tested(finding, p_value, two_sided=is_volume)


def _sign_flips(differences: np.ndarray[tuple[int], np.dtype[np.float64]], *, two_sided: bool) -> float:
    """The paired permutation test: under no change either side could have been the current one on each unit."""
    from scipy.stats import permutation_test  # noqa: PLC0415  slow to load

    moved = differences[differences != 0]  # a unit without a difference has no sign to flip
    if len(moved) < 2:
        return 1.0
    result = permutation_test(
        (moved,),
        lambda x, axis: np.sum(x, axis=axis),
        permutation_type="samples",
        alternative="two-sided" if two_sided else "greater",
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=max(1, _MOST_FLIPS // len(moved)),
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def _resources(rounds: Sequence[Round], tolerances: Tolerances) -> list[_Tested]:
    tested = []
    peaks = [
        (float(peak[0]), float(peak[1]))
        for result in rounds
        if len(peak := result.peak_rss_mib) == 2 and peak[0] and peak[1]
    ]
    if peaks:
        tested.append(_logs("peak_memory", "MiB", peaks, tolerances.max_memory_increase))
    # The first start of all finds its files outside the memory of the system: it says nothing of either side.
    starts = [(result.cold_start_s[0], result.cold_start_s[1]) for result in rounds][1:]
    if starts:
        tested.append(_logs("cold_start", "s", starts, tolerances.max_cold_start_increase))
    return tested


def _logs(name: str, unit: str, pairs: Sequence[tuple[float, float]], tolerance: float) -> _Tested:
    """A metric with one value a round and side: the median ratio, which a disturbed round or two cannot move.

    Its interval is Student's of the mean log-ratio, widened to hold the median, and so is the test.
    """
    from scipy.stats import t  # noqa: PLC0415  slow to load

    logs = [math.log(current / baseline) for baseline, current in pairs]
    interval = stats.mean_interval(logs)
    half, p_value = interval.high - interval.value, 1.0
    if math.isfinite(half):
        quantile = float(t.ppf(1 - stats.ALPHA / 2, len(logs) - 1))
        # Equal values leave no spread to test against: they are then exact.
        p_value = float(t.sf(interval.value / (half / quantile), len(logs) - 1)) if half else 0.0
    middle = median(logs)
    bounds = (middle, min(middle, interval.low), max(middle, interval.high))
    worse = Interval(*(math.expm1(min(x, 700.0)) for x in bounds))
    sides = [median(pair[side] for pair in pairs) for side in (0, 1)]
    finding = Finding(name, unit, sides[0], sides[1], worse, tolerance, Outcome.INCONCLUSIVE)
    return _Tested(finding, p_value, passes_if_unseen=True)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected so that the chance of any false rejection among them stays at the level (Holm 1979)."""
    corrected = [0.0] * len(p_values)
    least = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[position]))
        corrected[position] = least
    return corrected


def _corrected(tested: Sequence[_Tested]) -> list[Finding]:
    return [
        Finding(
            one.finding.name,
            one.finding.unit,
            one.finding.baseline,
            one.finding.current,
            one.finding.worse,
            one.finding.tolerance,
            _outcome(one, p_value),
            p_value,
        )
        for one, p_value in zip(tested, holm([one.p for one in tested]), strict=True)
    ]


def _outcome(tested: _Tested, p_value: float) -> Outcome:
    worse, tolerance = tested.finding.worse, tested.finding.tolerance
    amount = abs(worse.value) if tested.two_sided else worse.value
    if tested.passes_if_unseen and amount <= tolerance:
        return Outcome.PASS
    if worse.high <= tolerance and (worse.low >= -tolerance or not tested.two_sided):
        return Outcome.PASS
    if p_value < ALPHA and amount > tolerance:
        return Outcome.REGRESSION
    return Outcome.INCONCLUSIVE
