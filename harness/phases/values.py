"""What a ladder gives: frozen values and the rule of its verdicts. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.stats import SAME_WITHIN
from harness.values import Comparison, Failure, Interval, Variant

HARM = 0.002
"""CER increase over the previous rung, as a ratio, that no gain in speed makes up for."""


class RungVerdict(StrEnum):
    """What became of a rung."""

    HOLDS = "holds"
    SMALLER = "smaller"
    NONE = "none"
    WORSE = "worse"
    HARMFUL = "harmful to accuracy"
    INCONCLUSIVE = "inconclusive"
    FAILED = "failed"
    NOT_APPLICABLE = "cannot apply"
    COVERED = "no setting"


@dataclass(frozen=True, slots=True)
class RungResult:
    """One rung, claimed beside measured."""

    id: str
    technique: str
    claim: str
    verdict: RungVerdict
    claimed: tuple[float, float] | None = None
    """The claimed range of the gain, where a figure was claimed."""
    reason: str = ""
    """One sentence where there is nothing to measure, or why the measurement ended."""
    previous: str = ""
    variant: Variant | None = None
    gain: Comparison | None = None
    """Against the previous rung."""
    total: Comparison | None = None
    """Against the baseline."""
    failure: Failure | None = None
    counters: Mapping[str, float] = field(default_factory=dict)
    """Means over the rung's run alone, by name with unit."""
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    cold_start_s: float | None = None


@dataclass(frozen=True, slots=True)
class LadderResult:
    """A ladder as it was climbed on one machine."""

    ladder: str
    about: str
    created: str
    machine: str
    versions: Mapping[str, str]
    data: tuple[str, ...]
    pages: int
    budget_s: float
    spent_s: float
    rungs: tuple[RungResult, ...]
    rungs_in_ladder: int
    """More than `rungs` where the run was interrupted."""


def verdict(gain: Interval, cer_increase: Interval, claimed: float | None) -> RungVerdict:
    """The verdict on a measured rung, by 95 % intervals against the previous rung; `claimed` is the least gain.

    harmful       CER rises by more than 0.2 points for sure (lower bound), however fast
    inconclusive  no interval, or one that holds both no gain and the claimed gain
    worse         surely slower
    holds         surely faster, and the claimed gain is not ruled out
    smaller       surely faster, and by less than was claimed
    none          within 3 % of no change, or no gain shown while the claimed gain is ruled out
    """
    if cer_increase.low > HARM:
        return RungVerdict.HARMFUL
    if not (math.isfinite(gain.high) and gain.low > 0):
        return RungVerdict.INCONCLUSIVE
    if gain.high < 1:
        return RungVerdict.WORSE
    if math.exp(-SAME_WITHIN) <= gain.low and gain.high <= math.exp(SAME_WITHIN):
        return RungVerdict.NONE
    if gain.low > 1:
        return RungVerdict.HOLDS if claimed is None or gain.high >= claimed else RungVerdict.SMALLER
    return RungVerdict.NONE if claimed is not None and gain.high < claimed else RungVerdict.INCONCLUSIVE
