"""What a trial is worth: its speed against the baseline on the same pages, and the bounds that it must meet."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist, fmean

from harness.accuracy.bootstrap import cer_increase, cer_increase_by_set
from harness.accuracy.scores import PageScore
from harness.bounds import harmed_sets, violations_of
from harness.objectives import THROUGHPUT, Objective
from harness.values import Constraints, Failure, Interval, Measurement, TrialResult

_NORMAL = NormalDist()
_SAFE = 0.95
"""Chance that unseen pages prove a variant, with which nothing slower is tried for want of it."""
_TRIFLE = 0.25
"""Share of the greatest promise, below which a gain is not worth a proof."""
WORST = -10.0
"""Log of the gain over the baseline that a failed trial is told as: 22 000 times slower."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One trial in the eyes of the search."""

    trial: TrialResult
    log_speedup: float
    """Log of the gain over the baseline on the same pages, by the objective; WORST for a failure."""
    cer_increase: Interval | None
    """None for a failure, and where no page has text to be read."""
    violations: Mapping[str, float]
    """By constraint, by how much it is missed; at most 0 is met."""
    likely: bool
    """Whether the constraints are met on the best estimate, if not on its upper bound."""
    more_edits: Mapping[str, int] = field(default_factory=dict)
    """By page, how many more edits it takes than the baseline's text."""
    trials: int = 1
    """Of this variant, which the speed is the mean of."""
    cer_excess: float | None = None
    """By how much the bound on CER is missed, below 0 where it is met: by the upper bound of the increase where every
    page was read, else by its best estimate; None for a failure, and where no page has text to be read."""
    share_read: float = 1.0
    """Of the pages that the baseline read."""
    cer_by_set: Mapping[str, Interval] = field(default_factory=dict)
    """By how much more CER each data set is read, where there are several with text to be read."""
    chance_of_proof: float = 1.0
    """That unseen pages show the accuracy to be within its bound."""

    @property
    def feasible(self) -> bool:
        """Whether every constraint is met."""
        return all(violation <= 0 for violation in self.violations.values())

    @property
    def reads_alike(self) -> bool:
        """Whether every page has as many errors as the baseline's, so that others will hardly be read worse."""
        return self.cer_increase == Interval(0.0, 0.0, 0.0)

    @property
    def promise(self) -> float:
        """The log of the speed-up times the chance that unseen pages prove the accuracy."""
        return self.log_speedup * self.chance_of_proof

    @property
    def trifle(self) -> float:
        """The log of a speed-up below which nothing is worth a proof beside what promises so much."""
        return _TRIFLE * max(0.0, self.promise)

    @property
    def safe(self) -> bool:
        """Whether it is faster than the baseline, meets every constraint, and unseen pages will hardly refuse it."""
        return self.feasible and self.promise >= _SAFE * self.log_speedup > 0

    def shares_the_fate_of(self, other: "Judgement") -> bool:
        """Whether both differ from the baseline's text on the same pages by about as much.

        What unseen pages say of the accuracy of one they then say of the other.
        """
        pages = self.more_edits.keys() & other.more_edits.keys()
        pairs = [(self.more_edits[page], other.more_edits[page]) for page in pages]
        return 2 * sum(abs(a - b) for a, b in pairs) <= sum(max(abs(a), abs(b)) for a, b in pairs)


def judge(
    trial: TrialResult,
    totals: Mapping[str, float],
    constraints: Constraints,
    scores: Sequence[PageScore],
    baseline_scores: Sequence[PageScore],
    objective: Objective = THROUGHPUT,
) -> Judgement:
    """Judge a trial by `scores` of all pages that are known to be read so; `baseline_scores` hold at least those.

    `totals` are what the baseline takes of each page, by the objective.
    """
    if isinstance(trial.outcome, Failure):
        return Judgement(trial, WORST, None, {"failed": 1.0}, likely=False)
    read = {score.page_id for score in scores}
    same = [score for score in baseline_scores if score.page_id in read]
    increase = (
        cer_increase(same, scores) if any(score.characters.reference_length for score in same) else None
    )
    violations = violations_of(trial.outcome, constraints)
    likely = all(violation <= 0 for violation in violations.values())
    share_read, excess, chance = len(same) / max(1, len(baseline_scores)), None, 1.0
    sets = cer_increase_by_set(same, scores)
    if increase is not None:
        bound = constraints.max_cer_increase
        # A set has few pages: to be sure it must look well, to be likely it must not be harmed.
        worst = max((each.value for each in sets.values()), default=-math.inf)
        violations["cer"] = max(increase.high, worst) - bound
        likely = likely and increase.value <= bound and not harmed_sets(sets, bound)
        excess = max(increase.high if share_read == 1 else increase.value, worst) - bound
        chance = chance_of_proof(increase, sets.values(), bound)
    errors = {score.page_id: score.characters.errors for score in same}
    more_edits = {score.page_id: score.characters.errors - errors[score.page_id] for score in scores}
    return Judgement(
        trial,
        log_gain(trial.outcome, totals, objective),
        increase,
        violations,
        likely,
        more_edits,
        cer_excess=excess,
        share_read=share_read,
        cer_by_set=sets,
        chance_of_proof=chance,
    )


def chance_of_proof(increase: Interval, sets: Iterable[Interval], max_cer_increase: float) -> float:
    """The chance that unseen pages show what `best_of` asks of the accuracy, as if a set said nothing of the whole.

    As many other pages give another estimate, as uncertain as this one: it is normally distributed around this one
    with twice its variance. Its upper bound must not be above the margin. That of a set must not be above the margin
    and surely above 0.
    """
    slacks = [(increase, max_cer_increase - increase.high)]
    slacks += [(each, max(max_cer_increase, each.value - each.low) - each.value) for each in sets]
    return math.prod(_chance_of_staying(each, slack) for each, slack in slacks)


def _chance_of_staying(estimate: Interval, slack: float) -> float:
    """That other pages' estimate is at most so much above this one."""
    sd = (estimate.high - estimate.low) / (2 * _NORMAL.inv_cdf(0.975))
    if sd == 0:
        return float(slack >= 0)
    return _NORMAL.cdf(slack / (math.sqrt(2) * sd))


def together(judgements: Sequence[Judgement]) -> Judgement:
    """All trials of one variant as one: a failure stands, speeds are averaged, the most pages say how it reads."""
    for judgement in judgements:
        if isinstance(judgement.trial.outcome, Failure):
            return judgement
    fullest = max(judgements, key=lambda judgement: len(judgement.more_edits))
    mean = fmean(judgement.log_speedup for judgement in judgements)
    return replace(fullest, log_speedup=mean, trials=len(judgements))


def log_gain(measurement: Measurement, totals: Mapping[str, float], objective: Objective) -> float:
    """The log of the gain over what has these `totals` by page, by the objective; WORST where it cannot be told."""
    same = sum(totals[page.page_id] for page in measurement.pages)
    total = objective.total(measurement.blocks)
    # A counter of energy may stand still, or not be readable.
    told = all(0 < each < math.inf for each in (same, total))
    return max(WORST, math.log(same / total)) if told else WORST


def incumbent(judgements: Sequence[Judgement]) -> Judgement | None:
    """The fastest trial that surely meets the constraints, or one that is likely to where that promises more.

    What reads as the baseline does and is hardly faster is sure to meet every constraint, and no find.
    """
    likely = [judgement for judgement in judgements if judgement.likely]
    sure = max((j for j in likely if j.feasible), key=lambda j: j.log_speedup, default=None)
    bold = max(likely, key=lambda j: j.promise, default=None)
    return bold if sure is None or (bold and bold.promise > max(0.0, sure.log_speedup)) else sure


def finalists(judgements: Sequence[Judgement], count: int, *, must_be_faster: bool = True) -> list[Judgement]:
    """Different variants for the confirmation, all faster than the baseline if they must be, which is none of them.

    The incumbent; where that may fail on unseen pages, the one that is surest not to, so that the run still ends with
    a gain; then the fastest that are likely not to, those first whose text is not that of one before them: it would
    be refused with it. Surest is what reads as the baseline does: a few pages that happened to be read better promise
    less, and where they are slower too, nothing. None is a trifle: its proof would take as long.
    """
    tried = (j for j in judgements if j.trial.phase == "search")
    fast = sorted((j for j in tried if j.log_speedup > 0 or not must_be_faster), key=lambda j: -j.log_speedup)
    trifle = max((judgement.trifle for judgement in fast if judgement.likely), default=0.0)
    likely = [j for j in fast if j.likely and (trifle <= 0 or j.log_speedup >= trifle)]
    first = incumbent(likely)
    safe = [first] if first else []
    if not (first and first.safe):
        safe += sorted(likely, key=lambda j: (not j.reads_alike, j.violations.get("cer", 0.0)))[:1]
    sure = max((j.log_speedup for j in safe if j.reads_alike), default=-math.inf)
    bold = _of_their_own(safe, [j for j in likely if j.log_speedup > sure])
    chosen: list[Judgement] = []
    for rank in (safe, bold, likely):
        for judgement in rank:
            if judgement.trial.variant not in [j.trial.variant for j in chosen]:
                chosen.append(judgement)
    return chosen[:count]


def _of_their_own(chosen: Sequence[Judgement], others: Sequence[Judgement]) -> list[Judgement]:
    """Of `others`, in their order, those that share the fate of none of `chosen` and of none before them."""
    apart: list[Judgement] = []
    for judgement in others:
        if not any(judgement.shares_the_fate_of(other) for other in (*chosen, *apart)):
            apart.append(judgement)
    return apart
