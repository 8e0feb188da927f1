"""True speeds from noisy rounds: what each variant of a table tells of its relatives, by maximum likelihood.

A round or three of each variant, each 3 to 6 % off, do not say which of twenty near equals is the fastest: the mean
of the luckiest stands several per cent above its true speed, and no search could be held to it. So the log of the
speed is taken for a sum of random effects: of each value of each knob, of each pair and each triple of values, and of
each variant by itself (Searle, Casella and McCulloch, Variance Components, 1992, chapters 6 and 7). How large each
kind is, and the noise of a round, is what makes all rounds likeliest: where variants do differ in what no sum
explains, their rounds count for more, and the estimate follows them.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ORDERS = (1, 2, 3)
"""Knobs that act together: alone, in pairs, in threes."""
_LEVEL = 1.0
"""Sd of the log of the speed of all variants together: anything."""
_LEAST, _MOST = 1e-4, 1.0
"""Sd of the log of the speed."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """What the rounds of all variants say together."""

    log_speeds: tuple[float, ...]
    """One a variant."""
    noise_sd: float
    """Of the log of the speed of one round."""
    own_sd: float
    """Of what is a variant's own, which no effect of its knobs explains."""
    deviations: tuple[float, ...]
    """Of every round from its variant's speed, spread as the noise is: what a replay draws from."""


def pooled(points: Sequence[Sequence[Hashable]], rounds: Sequence[Sequence[float]]) -> Pooled:
    """`points` are the settings of each variant, in the order of the knobs; `rounds` the logs of its speeds."""
    from scipy.linalg import cho_factor, cho_solve
    from scipy.optimize import minimize

    counts = np.array([len(each) for each in rounds])
    means = np.array([float(np.mean(each)) for each in rounds])
    level = float(means.mean())
    within = sum(
        float(np.sum((np.array(each) - mean) ** 2)) for each, mean in zip(rounds, means, strict=True)
    )
    kinds = _kinds(points)

    def covariance(sds: NDArray[np.float64]) -> NDArray[np.float64]:
        total: NDArray[np.float64] = _LEVEL**2 + np.tensordot(sds[:-1] ** 2, kinds, axes=1)
        return total

    def unlikely(logs: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Less the log of the likelihood, up to a constant, with its slope by the log of each sd."""
        sds = np.exp(logs)
        noise = sds[-1] ** 2
        factor = cho_factor(covariance(sds) + np.diag(noise / counts), lower=True)
        off = cho_solve(factor, means - level)
        spare = int(counts.sum() - len(counts))
        value = float(np.log(np.diag(factor[0])).sum() + (means - level) @ off / 2)
        value += spare * float(logs[-1]) + within / (2 * float(noise))
        slope = cho_solve(factor, np.eye(len(means))) - np.outer(off, off)
        of_kinds = sds[:-1] ** 2 * np.tensordot(kinds, slope, axes=2)
        of_noise = noise * (np.diag(slope) / counts).sum() + spare - within / noise
        return value, np.append(of_kinds, of_noise)

    begin = np.log(np.array([*(0.1 / order for order in range(1, len(kinds))), 0.02, 0.04]))
    bounds = [(math.log(_LEAST), math.log(_MOST))] * len(begin)
    sds = np.exp(minimize(unlikely, begin, jac=True, method="L-BFGS-B", bounds=bounds).x)
    prior = covariance(sds)
    speeds = level + prior @ np.linalg.solve(prior + np.diag(sds[-1] ** 2 / counts), means - level)
    off = np.concatenate([np.array(each) - speed for each, speed in zip(rounds, speeds, strict=True)])
    off *= sds[-1] / max(_LEAST, float(np.sqrt(np.mean(off**2))))
    return Pooled(tuple(map(float, speeds)), float(sds[-1]), float(sds[-2]), tuple(map(float, off)))


def _kinds(points: Sequence[Sequence[Hashable]]) -> NDArray[np.float64]:
    """What two variants share of each kind of effect: a matrix for each order, and one for what is their own.

    With `m` of `d` knobs alike, they have `m` over `k` of the `d` over `k` effects of `k` knobs in common.
    """
    knobs = list(zip(*points, strict=True))
    alike = np.zeros((len(points), len(points)))
    for values in knobs:
        names = {value: place for place, value in enumerate(dict.fromkeys(values))}
        places = np.array([names[value] for value in values])
        alike += places[:, None] == places[None, :]
    same = alike.astype(int)
    found = [
        np.array([math.comb(m, order) / math.comb(len(knobs), order) for m in range(len(knobs) + 1)])[same]
        for order in _ORDERS
        if order <= len(knobs)
    ]
    return np.array([*found, same == len(knobs)])
