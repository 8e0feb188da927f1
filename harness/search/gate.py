"""What a trial is worth: its speed against the baseline on the same pages, and the bounds that it must meet."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.accuracy.bootstrap import cer_increase, cer_increase_by_set
from harness.accuracy.scores import PageScore
from harness.bounds import violations_of
from harness.objectives import THROUGHPUT, Objective
from harness.values import Constraints, Failure, Interval, Measurement, TrialResult

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

    @property
    def feasible(self) -> bool:
        """Whether every constraint is met."""
        return all(violation <= 0 for violation in self.violations.values())

    @property
    def reads_alike(self) -> bool:
        """Whether every page has as many errors as the baseline's, so that others will hardly be read worse."""
        return self.cer_increase == Interval(0.0, 0.0, 0.0)


def judge(
    trial: TrialResult,
    baseline: Measurement,
    constraints: Constraints,
    scores: Sequence[PageScore],
    baseline_scores: Sequence[PageScore],
    objective: Objective = THROUGHPUT,
) -> Judgement:
    """Judge a trial by `scores` of its pages; `baseline_scores` hold at least those pages."""
    if isinstance(trial.outcome, Failure):
        return Judgement(trial, WORST, None, {"failed": 1.0}, likely=False)
    read = {score.page_id for score in scores}
    same = [score for score in baseline_scores if score.page_id in read]
    increase = (
        cer_increase(same, scores) if any(score.characters.reference_length for score in same) else None
    )
    violations = violations_of(trial.outcome, constraints)
    likely = all(violation <= 0 for violation in violations.values())
    if increase is not None:
        harm = max((each.low for each in cer_increase_by_set(same, scores).values()), default=-math.inf)
        violations["cer"] = max(increase.high, harm) - constraints.max_cer_increase
        likely = likely and max(increase.value, harm) <= constraints.max_cer_increase
    return Judgement(trial, _log_speedup(trial.outcome, baseline, objective), increase, violations, likely)


def _log_speedup(measurement: Measurement, baseline: Measurement, objective: Objective) -> float:
    shares = page_totals(baseline, objective)
    same = sum(shares[page.page_id] for page in measurement.pages)
    total = objective.total(measurement.blocks)
    return max(WORST, math.log(same / total)) if math.isfinite(total) else WORST


def page_totals(baseline: Measurement, objective: Objective) -> dict[str, float]:
    """The objective's total over the baseline, shared out among its pages by their time."""
    spent = {page.page_id: page.seconds for page in baseline.pages}
    scale = objective.total(baseline.blocks) / sum(spent.values())
    return {page: scale * seconds for page, seconds in spent.items()}


def incumbent(judgements: Sequence[Judgement]) -> Judgement | None:
    """The fastest trial that meets the constraints, on the best estimate where none is certain to."""
    fitting = [j for j in judgements if j.feasible] or [j for j in judgements if j.likely]
    return max(fitting, key=lambda j: j.log_speedup, default=None)


def finalists(judgements: Sequence[Judgement], count: int) -> list[Judgement]:
    """Different variants for the confirmation, all faster than the baseline, which is none of them.

    The fastest that is sure to meet the constraints; the one that is surest to, so that a run whose bold guesses
    fail on unseen pages still ends with a gain; then the fastest that are likely to. Surest is what reads as the
    baseline does: a few pages that happened to be read better promise less.
    """
    tried = (j for j in judgements if j.trial.phase == "search")
    faster = sorted((j for j in tried if j.log_speedup > 0), key=lambda j: -j.log_speedup)
    sure = [judgement for judgement in faster if judgement.feasible]
    likely = [judgement for judgement in faster if judgement.likely]
    surest = sorted(likely, key=lambda j: (not j.reads_alike, j.violations.get("cer", 0.0)))
    chosen = {j.trial.variant.id: j for j in reversed((*sure[:1], *surest[:1], *likely))}
    ranked = dict.fromkeys(j.trial.variant.id for j in (*sure[:1], *surest[:1], *likely))
    return [chosen[variant] for variant in ranked][:count]
