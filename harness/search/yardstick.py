"""What a trial that read only some of the pages is measured by. Pure.

Variants differ in which pages they are fast on, and are slow on the first of a process. Judged by the baseline alone,
a trial looks slower after its first pages than those that read all, and is dropped for it. The same pages of variants
about as fast tell what to expect.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from harness.objectives import Objective
from harness.values import Measurement

_NEAR = 0.4
"""Difference of the log of the gain within which variants spread their time over the pages alike."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One reading of every page."""

    log_gain: float
    """Over the baseline."""
    shares: Mapping[str, float]
    """Of its total, by page; they add up to 1."""


def page_shares(measurement: Measurement, objective: Objective) -> dict[str, float]:
    """Each page's share of the objective's total: that of each block is shared out among its pages by their time."""
    totals: dict[str, float] = {}
    for block in measurement.blocks:
        work_s = sum(page.seconds for page in block.pages)
        scale = objective.total([block]) / work_s if work_s else 0.0
        for page in block.pages:
            totals[page.page_id] = totals.get(page.page_id, 0.0) + scale * page.seconds
    whole = sum(totals.values())
    if not 0 < whole < math.inf:  # a counter of energy may stand still, or not be readable
        return dict.fromkeys(totals, 1 / len(totals))
    return {page: total / whole for page, total in totals.items()}


def page_totals(measurement: Measurement, objective: Objective) -> dict[str, float]:
    """The objective's total by page."""
    total = objective.total(measurement.blocks)
    return {page: total * share for page, share in page_shares(measurement, objective).items()}


def gain_sd(baseline: Measurement, other: Measurement, objective: Objective) -> float:
    """By how much pages deviate in the log of what `other` gains on them; 0 where both read fewer than two."""
    first, second = (page_shares(each, objective) for each in (baseline, other))
    gains = [
        math.log(first[page] / second[page])
        for page in first.keys() & second.keys()
        if first[page] and second[page]
    ]
    return stdev(gains) if len(gains) > 1 else 0.0


def usual_shares(passes: Collection[Pass], log_gain: float) -> dict[str, float]:
    """Each page's share of the total of a variant that gains `log_gain`, by those that gain about as much.

    Of one at least: the nearest, where none is near. Raises ValueError without any.
    """
    nearest = min(abs(each.log_gain - log_gain) for each in passes)
    near = [each.shares for each in passes if abs(each.log_gain - log_gain) <= max(_NEAR, nearest)]
    return {page: fmean(each[page] for each in near) for page in near[0]}
