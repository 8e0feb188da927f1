"""What a ladder gives: frozen values and the rule of its verdicts. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.values import Comparison, Failure, Interval, Variant

HARM = 0.002
"""CER increase over the previous rung, as a ratio, that no gain in speed makes up for."""
_NOTICEABLE = 1.05
"""The least change of speed that a verdict is about: less is not worth a setting."""
_SAME_WITHIN = 1.1
"""What is surely nearer to the previous rung than this, either way, is no gain."""


class Quantity(StrEnum):
    """What a rung is judged by; each is a ratio that is greater where the rung is better."""

    THROUGHPUT = "throughput"
    COLD_START = "cold start"
    """Seconds from process start to the first page: those of the previous rung over those of this one."""
    FIRST_PAGE = "first page"
    """The same seconds over those of a page once warm: what a process saves that is kept."""


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


_SPEEDS = (RungVerdict.HOLDS, RungVerdict.SMALLER, RungVerdict.NONE, RungVerdict.WORSE)
"""Verdicts that say how fast a rung is."""


@dataclass(frozen=True, slots=True)
class RungResult:
    """One rung, claimed beside measured."""

    id: str
    technique: str
    claim: str
    verdict: RungVerdict
    claimed: tuple[float, float] | None = None
    """The claimed range of the gain, where a figure was claimed."""
    quantity: Quantity = Quantity.THROUGHPUT
    """What `gain` and `total` are ratios of."""
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
    is_done: bool = False
    """Whether the run was through with it: False in what an interrupted one leaves."""

    @property
    def is_harmless(self) -> bool:
        """Whether it works, and CER does not surely rise over that of the baseline by what no speed makes up for."""
        if self.total is None or self.verdict not in (*_SPEEDS, RungVerdict.INCONCLUSIVE):
            return False
        return not self.total.cer_increase.low > HARM  # not a number where no page has text to be read

    @property
    def other_verdicts(self) -> tuple[RungVerdict, ...]:
        """What another run may say: the verdicts beyond the edges that the interval of the gain holds.

        Of an inconclusive rung all that its interval admits.
        """
        if self.gain is None or self.verdict not in (*_SPEEDS, RungVerdict.INCONCLUSIVE):
            return ()
        gain = self.gain.speedup
        return tuple(
            other
            for other, (low, high) in self._regions.items()
            if other is not self.verdict and max(low, gain.low) < min(high, gain.high)
        )

    @property
    def verdict_text(self) -> str:
        """The verdict, and after it what else it may be where that is a close call.

        An inconclusive one is followed by what it may be, where the interval rules anything out.
        """
        others = self.other_verdicts
        if self.verdict is not RungVerdict.INCONCLUSIVE:
            return " or ".join((self.verdict, *others))
        possible = [low < high for low, high in self._regions.values()]
        return f"{self.verdict}: {' or '.join(others)}" if 0 < len(others) < sum(possible) else self.verdict

    @property
    def _regions(self) -> dict[RungVerdict, tuple[float, float]]:
        """The gains that each verdict on the speed is about; one that is empty where nothing was claimed."""
        holds_from = max(_NOTICEABLE, *(self.claimed or ())[:1], 0.0)
        return {
            RungVerdict.WORSE: (0.0, 1 / _NOTICEABLE),
            RungVerdict.NONE: (1 / _NOTICEABLE, _NOTICEABLE),
            RungVerdict.SMALLER: (_NOTICEABLE, holds_from),
            RungVerdict.HOLDS: (holds_from, math.inf),
        }


@dataclass(frozen=True, slots=True)
class LadderResult:
    """A ladder as it was climbed on one machine."""

    ladder: str
    about: str
    created: str
    machine: str
    versions: Mapping[str, str]
    device: str
    data: Mapping[str, str]
    """SHA-256 of each data set by name."""
    pages: tuple[str, ...]
    """Identifiers of the pages that rungs are measured on."""
    seed: int
    budget_s: float
    spent_s: float
    rungs: tuple[RungResult, ...]
    rungs_in_ladder: int

    @property
    def undone(self) -> int:
        """How many rungs an interrupted run has not come to, or not to the end of."""
        return self.rungs_in_ladder - sum(rung.is_done for rung in self.rungs)


def verdict(gain: Interval, cer_increase: Interval, claimed: float | None) -> RungVerdict:
    """The verdict on a measured rung, by 95 % intervals against the previous rung; `claimed` is the least gain.

    harmful       CER rises by more than 0.2 points for sure (lower bound), however fast
    worse         surely slower, and by more than 5 %
    holds         surely faster, by more than 5 %, and the claimed gain is not ruled out
    smaller       likewise, and by less than was claimed
    none          surely within 10 % of the previous rung, faster or slower
    inconclusive  anything else, such as no interval at all
    """
    if cer_increase.low > HARM:
        return RungVerdict.HARMFUL
    if not (math.isfinite(gain.high) and gain.low > 0):
        return RungVerdict.INCONCLUSIVE
    if gain.high < 1 and gain.value < 1 / _NOTICEABLE:
        return RungVerdict.WORSE
    if gain.low > 1 and gain.value > _NOTICEABLE:
        return RungVerdict.HOLDS if claimed is None or gain.high >= claimed else RungVerdict.SMALLER
    is_same = gain.low > 1 / _SAME_WITHIN and gain.high < _SAME_WITHIN
    return RungVerdict.NONE if is_same else RungVerdict.INCONCLUSIVE
