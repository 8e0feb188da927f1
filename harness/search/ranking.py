"""Which step away from the incumbent promises most, by all that was measured so far. Pure.

The log of the speed is fitted as a sum of one effect a knob and of what such a sum misses, as a Gaussian process
(Rasmussen and Williams 2006, equations 2.25, 2.26 and 2.30): an effect that is untried has a prior whose width is the
share of the incumbent's time that the knob's stage takes, so what cannot matter much is tried late. A step is worth
its expected improvement (Jones, Schonlau and Welch 1998), which is generous to the untried, times the chance that it
works, and that it reads well enough: how far the CER of other variants is from its bound is fitted likewise, over the
knobs that may change the text (Gardner et al. 2014).
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from engines.interface import STAGES, Choice, Knob, Setting, Settings
from harness.search.noise import UNKNOWN
from harness.values import Failure, Measurement

_EFFECT = 0.4
"""Sd of the log of the speed between values of a knob whose stage takes all the time."""
_LEAST_SHARE = 0.1
"""A stage whose time is short or not known may still hold up the others."""
_INTERACTION = 0.2
"""Sd of what a sum of effects misses; variants that differ in few knobs share it."""
_FACTORS = (0.25, 0.5, 1.0, 2.0)
"""What the trials may make of it."""
_FACTOR = 2.0
"""By how much it is off before any trial, up or down (one deviation)."""
_LEVEL = 1.0
"""Sd of the log of the speed of all variants together."""
_CER_UNIT = 0.002
"""Of how far the CER is from its bound, which counts by its inverse hyperbolic sine: one model loses a tenth of a
point, another ten points."""
_CER_EFFECT, _CER_INTERACTION, _CER_NOISE = 1.0, 0.5, 0.4
"""Sd of that between values of a knob, of what a sum of effects misses, and between equally many pages."""
_MOST_CHANGES = 2
"""Of a step. Two find what only pays together; the more knobs differ, the less a failure tells."""
_BLAMED, _TOO_LATE = 3.0, 99.0
"""Odds against what alone sets a trial apart that failed, and one that took too long: there is never more time than
there was."""
_NORMAL = NormalDist()
_ABSENT = -2.0
"""The place of a knob that does not act."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a trial was worth."""

    settings: Settings
    log_speedup: float | None
    """None where nothing was measured."""
    failed: bool = False
    """Whether it gave nothing, or missed a constraint other than the bound on CER."""
    trials: int = 1
    """Whose mean the speed is."""
    too_late: bool = False
    """Whether it failed because it took too long, such as over building a model."""
    cer_excess: float | None = None
    """By how much it misses the bound on CER; None where that is not known."""
    share_read: float = 1.0
    """Of the pages, by which that is judged."""
    likely: bool = True
    """Whether it meets every constraint on the best estimate."""


@dataclass(frozen=True, slots=True)
class Step:
    """The incumbent with one knob or a few changed, before conditions are applied."""

    changes: Settings
    gain: float
    """Expected improvement of the log of the speed, times the chance to meet the constraints."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What a trial says against its values, and how much for each."""

    settings: Settings
    blame: Mapping[str, float]
    """By knob."""
    good: bool


def stage_shares(outcome: Measurement | Failure) -> dict[str, float]:
    """Share of the time of all stages by stage; empty where the engine reports none."""
    seconds: dict[str, float] = {}
    for page in outcome.pages if isinstance(outcome, Measurement) else ():
        for stage, spent_s in page.stage_s.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent_s
    total_s = sum(seconds.values())
    return {stage: spent_s / total_s for stage, spent_s in seconds.items()} if total_s else {}


def steps(
    knobs: Sequence[Knob],
    incumbent: Settings,
    told: Sequence[Told],
    shares: Mapping[str, float],
    *,
    noise_sd: float = UNKNOWN.sd,
    resolved: Callable[[Settings], Settings] = dict,
) -> list[Step]:
    """Changes of one knob of the incumbent, and of a few, the most promising first, tried ones among them.

    Every single change is listed. A change of two is the best single one with another beside it, and so on: effects
    that add up are told sooner where several are tried at once. `shares` is that of each stage in the incumbent's
    time, empty where it is not known; `told` holds the incumbent. `noise_sd` is that of the log of the speed of one
    trial, and `resolved` applies the conditions of knobs: what a change switches off must not be credited with what
    it did, and what it switches on is at its default.
    """
    singles: list[Settings] = [
        {knob.name: value}
        for knob in knobs
        if knob.name in incumbent
        for value in knob.domain.values
        if value != incumbent[knob.name]
    ]
    found: list[Step] = []
    best: Settings = {}
    for _ in range(_MOST_CHANGES):
        wider = [{**best, **single} for single in singles if not best.keys() & single.keys()]
        if not wider:
            break
        points = [resolved({**incumbent, **changes}) for changes in wider]
        gains = _gains(knobs, incumbent, points, told, shares, noise_sd)
        chances = _chances(knobs, incumbent, wider, points, told)
        rated = [
            Step(changes, gain * chance) for changes, gain, chance in zip(wider, gains, chances, strict=True)
        ]
        found += rated
        best = max(rated, key=lambda step: step.gain).changes
    return sorted(found, key=lambda step: -step.gain)


def worth(
    knobs: Sequence[Knob],
    incumbent: Settings,
    point: Settings,
    told: Sequence[Told],
    shares: Mapping[str, float],
    *,
    noise_sd: float = UNKNOWN.sd,
) -> float:
    """What any other settings promise, as the gain of a step; arguments as in `steps`."""
    places = ((knob.name, point.get(knob.name)) for knob in knobs if knob.name in incumbent)
    changes = {name: value for name, value in places if value is not None and value != incumbent[name]}
    (gain,) = _gains(knobs, incumbent, [point], told, shares, noise_sd)
    (chance,) = _chances(knobs, incumbent, [changes], [point], told)
    return gain * chance


def repeats(
    knobs: Sequence[Knob],
    rivals: Sequence[Settings],
    told: Sequence[Told],
    shares: Mapping[str, float],
    *,
    noise_sd: float = UNKNOWN.sd,
) -> list[float]:
    """What measuring each of the rivals once more promises, for the speed of what is chosen in the end (its log).

    The knowledge gradient (Frazier, Powell and Dayanik 2009) as if the choice were between the rival and the best of
    the others. `rivals` have been measured and meet the constraints; there are two at least.
    """
    mean, covariance = _belief(knobs, rivals, told, shares, noise_sd)
    found = []
    for here in range(len(rivals)):
        there = max((i for i in range(len(rivals)) if i != here), key=lambda i: float(mean[i]))
        told_apart = float(covariance[here, here] - covariance[there, here])
        sd = abs(told_apart) / math.sqrt(float(covariance[here, here]) + noise_sd**2)
        found.append(_expected(-abs(float(mean[here] - mean[there])), max(1e-9, sd)))
    return found


def believed(
    knobs: Sequence[Knob], told: Sequence[Told], shares: Mapping[str, float], *, noise_sd: float = UNKNOWN.sd
) -> list[float | None]:
    """The log of the speed of each trial's variant, as all trials together make it likely; None where it failed.

    The fastest of many noisy trials was lucky too: what its relatives did pulls it back.
    """
    measured = [trial.settings for trial in told if trial.log_speedup is not None]
    means = iter(_belief(knobs, measured, told, shares, noise_sd)[0])
    return [None if trial.log_speedup is None else float(next(means)) for trial in told]


def _gains(
    knobs: Sequence[Knob],
    incumbent: Settings,
    offered: Sequence[Settings],
    told: Sequence[Told],
    shares: Mapping[str, float],
    noise_sd: float,
) -> list[float]:
    """The expected improvement of each of the offered points over the incumbent."""
    mean, covariance = _belief(knobs, [incumbent, *offered], told, shares, noise_sd)
    variance = np.diag(covariance) + covariance[0, 0] - 2 * covariance[0]
    return [
        _expected(float(mean[place] - mean[0]), math.sqrt(max(1e-12, float(variance[place]))))
        for place in range(1, len(offered) + 1)
    ]


def _chances(
    knobs: Sequence[Knob],
    incumbent: Settings,
    changes: Sequence[Settings],
    offered: Sequence[Settings],
    told: Sequence[Told],
) -> list[float]:
    """The chance that the incumbent with each of these changes works and reads well; they make the offered points."""
    by_name = {knob.name: knob for knob in knobs}
    seen = _evidence(incumbent, told)
    return [
        reads
        * math.prod(_admissible(by_name[name], value, incumbent, seen) for name, value in change.items())
        for change, reads in zip(changes, _reads_well(knobs, incumbent, offered, told), strict=True)
    ]


def _reads_well(
    knobs: Sequence[Knob], incumbent: Settings, offered: Sequence[Settings], told: Sequence[Told]
) -> list[float]:
    """The chance of each of the offered points to meet the bound on CER, over what it was before any trial but one.

    That one is the incumbent's: what is untried has the chance 1, and what other trials speak against has less.
    """
    known = [(trial, trial.cer_excess) for trial in told if trial.cer_excess is not None]
    if not known:
        return [1.0] * len(offered)
    known.sort(key=lambda pair: pair[0].settings != incumbent)
    text_knobs = [knob for knob in knobs if knob.changes_text]
    effects, interactions = _covariances(
        text_knobs,
        [*(trial.settings for trial, _ in known), *offered],
        {knob.name: _CER_EFFECT for knob in text_knobs},
    )
    prior = effects + _CER_INTERACTION**2 * interactions
    values = np.array([math.asinh(excess / _CER_UNIT) for _, excess in known])
    noise = np.array([_CER_NOISE**2 / trial.share_read for trial, _ in known])
    level = float(values[0])

    def chances(count: int) -> list[float]:
        """By the first trials."""
        rows = [*range(count), *range(len(known), len(prior))]
        mean, covariance = _posterior(prior[np.ix_(rows, rows)], _Seen(values[:count], noise[:count], level))
        sds = np.sqrt(np.diag(covariance) + _CER_NOISE**2)
        return [_NORMAL.cdf(-float(m / sd)) for m, sd in zip(mean, sds, strict=True)]

    return [
        min(1.0, after / max(before, 1e-9))
        for before, after in zip(chances(1), chances(len(known)), strict=True)
    ]


def _expected(mean: float, sd: float) -> float:
    """The expected value of a normal variable where it is positive, and 0 elsewhere."""
    return mean * _NORMAL.cdf(mean / sd) + sd * _NORMAL.pdf(mean / sd)


def _belief(
    knobs: Sequence[Knob],
    points: Sequence[Settings],
    told: Sequence[Told],
    shares: Mapping[str, float],
    noise_sd: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance of the log of the speed at the points, by all that was measured, with noise.

    How much a sum of effects misses differs from engine to engine: a runtime that is the fastest with one thread may
    be the slowest with two. It is what makes the measured speeds likeliest.
    """
    measured = [(trial, trial.log_speedup) for trial in told if trial.log_speedup is not None]
    widths = {knob.name: _EFFECT * _share(knob, shares) for knob in knobs}
    effects, interactions = _covariances(knobs, [*(trial.settings for trial, _ in measured), *points], widths)
    speeds = np.array([speed for _, speed in measured])
    noise = np.array([noise_sd**2 / trial.trials for trial, _ in measured])
    seen = _Seen(speeds, noise, float(speeds.mean()) if measured else 0.0)

    def prior(factor: float) -> NDArray[np.float64]:
        total: NDArray[np.float64] = effects + (factor * _INTERACTION) ** 2 * interactions
        return total

    def likelihood(factor: float) -> float:
        off = math.log(factor) / math.log(_FACTOR)
        return _log_likelihood(prior(factor), seen) - off**2 / 2

    return _posterior(prior(max(_FACTORS, key=likelihood)), seen)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was measured, and the variance of each measurement."""

    values: NDArray[np.float64]
    noise: NDArray[np.float64]
    level: float
    """What is expected where nothing is known."""

    @property
    def off(self) -> NDArray[np.float64]:
        """How far each is from the level."""
        return self.values - self.level

    def covariance(self, prior: NDArray[np.float64]) -> NDArray[np.float64]:
        """With noise, where the first points of the `prior` are those that were measured."""
        count = len(self.values)
        noisy: NDArray[np.float64] = prior[:count, :count] + np.diag(self.noise)
        return noisy


def _posterior(prior: NDArray[np.float64], seen: _Seen) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance of the points after the first ones, which are those that were measured."""
    count = len(seen.values)
    if not count:
        return np.full(len(prior), seen.level), prior
    gain = np.linalg.solve(seen.covariance(prior), prior[:count, count:]).T
    return seen.level + gain @ seen.off, prior[count:, count:] - gain @ prior[:count, count:]


def _log_likelihood(prior: NDArray[np.float64], seen: _Seen) -> float:
    """Of what was measured, up to a constant; 0 where nothing was."""
    if not len(seen.values):
        return 0.0
    known = seen.covariance(prior)
    return -0.5 * (float(seen.off @ np.linalg.solve(known, seen.off)) + float(np.linalg.slogdet(known)[1]))


def _covariances(
    knobs: Sequence[Knob], points: Sequence[Settings], widths: Mapping[str, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Between all points, before anything is known: of the sum of effects, and of what it misses with an sd of 1.

    `widths` are the sds of the effects by knob.
    """
    total: NDArray[np.float64] = np.full((len(points), len(points)), _LEVEL**2)
    differing = np.zeros_like(total)
    for knob in knobs:
        places = np.array([_place(knob, point.get(knob.name)) for point in points])
        apart = np.abs(places[:, None] - places[None, :])
        total += widths[knob.name] ** 2 * _alike(knob, places, apart)
        differing += apart > 0
    return total, np.exp(-differing / 2)


def _alike(knob: Knob, places: NDArray[np.float64], apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much the effects of two values of a knob have in common.

    Numbers have a trend, which carries a direction that helped on, and a bend. Names have nothing in common, and
    neither has a number with the absence of its knob.
    """
    if isinstance(knob.domain, Choice):
        same: NDArray[np.float64] = (apart == 0).astype(float)
        return same
    acting = places > _ABSENT
    both = acting[:, None] & acting[None, :]
    trend = (places[:, None] - 0.5) * (places[None, :] - 0.5)
    absent = (~acting[:, None] & ~acting[None, :]).astype(float)
    alike: NDArray[np.float64] = np.where(both, trend + 0.5 * np.exp(-apart / 0.5), absent)
    return alike


def _place(knob: Knob, value: Setting | None) -> float:
    """Where a value is among those of its knob: from 0 to 1 for numbers, and a step beyond for those off the grid."""
    values: Sequence[Setting] = knob.domain.values
    if value is None:
        return _ABSENT
    if isinstance(knob.domain, Choice):
        return float(values.index(value)) if value in values else float(len(values))
    number, grid = float(value), [float(v) for v in values]
    step = 1 / max(1, len(grid) - 1)
    if number > grid[-1]:
        return 1.0 + step
    return -step if number < grid[0] else float(np.interp(number, grid, np.linspace(0.0, 1.0, len(grid))))


def _share(knob: Knob, shares: Mapping[str, float]) -> float:
    """Of the time that a knob may change: that of its stage, and all where its stage is none of a page's."""
    if knob.stage not in STAGES or not shares:
        return 1.0
    return max(_LEAST_SHARE, shares.get(knob.stage, 0.0))


def takes_too_long(settings: Settings, told: Collection[Told]) -> bool:
    """Whether they have all that a trial which took too long had and none that worked has."""
    worked = _worked(told)
    suspects = [set(trial.settings.items()) - worked for trial in told if trial.too_late]
    return any(late and late <= set(settings.items()) for late in suspects)


def _worked(told: Collection[Told]) -> set[tuple[str, Setting]]:
    return {item for trial in told if trial.log_speedup is not None for item in trial.settings.items()}


def _evidence(incumbent: Settings, told: Sequence[Told]) -> list[_Evidence]:
    """A trial's blame is shared by all that sets it apart from the incumbent, for a crash may need several of them.

    That of one which took too long goes to what no trial that worked has, and weighs more: what is built for one
    setting takes as long beside any other, and costs the time of several trials again.
    """
    worked = _worked(told)
    found = []
    for trial in told:
        then = trial.settings.get
        apart = [(name, then(name)) for name, here in incumbent.items() if then(name) != here]
        suspects = [item for item in apart if trial.too_late and item not in worked] or apart
        odds = (_TOO_LATE if trial.too_late else _BLAMED) * trial.failed / max(1, len(suspects))
        found.append(
            _Evidence(trial.settings, dict.fromkeys((name for name, _ in suspects), odds), not trial.failed)
        )
    return found


def _admissible(knob: Knob, value: Setting, incumbent: Settings, seen: Sequence[_Evidence]) -> float:
    """The chance that a value works: what it did, and what it may have been the cause of.

    For numbers blame holds beyond the value too: what breaks at one size breaks at the next. 1 for a value that was
    never seen.
    """
    good = bad = 0.0
    here, there = _place(knob, incumbent[knob.name]), _place(knob, value)
    for trial in seen:
        then = trial.settings.get(knob.name)
        if then is None:
            continue
        at = _place(knob, then)
        ordered = not isinstance(knob.domain, Choice)
        if at == there or (ordered and here < at < there) or (ordered and there < at < here):
            bad += trial.blame.get(knob.name, 0.0)
        if at == there:
            good += trial.good
    return (1 + good) / (1 + good + bad)
