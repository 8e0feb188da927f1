"""From what a recognition model says at each step of a line to the line's text (Graves et al., 2006, best path)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLANK = 0
_WEAKEST = 2
_DIGITS = 5
"""Probabilities are rounded as RapidOCR rounds them, so that a bound on them drops the same lines."""


class Reading(NamedTuple):
    """Text of a line and how sure the model is of it."""

    text: str
    confidence: float
    """Mean probability of its characters, 0 without any: RapidOCR's score."""
    weakest: float
    """Mean probability of its two least certain characters, 0 without any.

    One wrong letter hides in the mean of a long line; here it does not.
    """


def alphabet(characters: Sequence[str]) -> list[str]:
    """The classes of a model with that list of characters: the blank first, the space last."""
    return ["", *characters, " "]


def best_path(chances: NDArray[np.float32], classes: Sequence[str]) -> list[Reading]:
    """The readings of lines from `chances` of shape (lines, steps, classes)."""
    best = chances.argmax(axis=2)
    spoken = best != _BLANK
    spoken[:, 1:] &= best[:, 1:] != best[:, :-1]
    return [_reading(*line, classes) for line in zip(chances, best, spoken, strict=True)]


def _reading(
    chances: NDArray[np.float32], best: NDArray[np.intp], spoken: NDArray[np.bool_], classes: Sequence[str]
) -> Reading:
    steps = np.flatnonzero(spoken)
    if not steps.size:
        return Reading("", 0.0, 0.0)
    symbols = best[steps]
    sure = chances[steps, symbols].astype(np.float64).round(_DIGITS)
    weakest = np.sort(sure)[:_WEAKEST].mean()
    text = "".join([classes[symbol] for symbol in symbols.tolist()])
    return Reading(text, float(sure.mean().round(_DIGITS)), float(weakest))
