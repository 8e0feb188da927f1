"""Measuring both sides of a check."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.check.builds import Build
from harness.check.verdicts import Finding, Outcome, Tolerances, findings, speed_outcome
from harness.comparing import drift, readings, rounds_until
from harness.measure import Bench, SideFailedError, interleaved_round
from harness.values import UNKNOWN_DRIFT, Interval, Round, Variant

_ROUNDS = 8
"""More than a comparison of speed alone needs: memory and cold start have one value a round."""
_ROUNDS_SHARE = 0.98
"""Of the budget: the rest is for loading pages, scoring and writing."""


@dataclass(frozen=True, slots=True)
class Side:
    """A variant as one build runs it."""

    variant: Variant
    build: Build


@dataclass(frozen=True, slots=True)
class Gated:
    """What was measured of both sides."""

    findings: tuple[Finding, ...]
    """Empty where one side failed before the end of the first round."""
    rounds: int
    pages: int
    seconds: float
    failed_side: int | None = None
    failure: str | None = None
    drift: Interval = UNKNOWN_DRIFT
    """As `Comparison.drift`."""

    @property
    def speed(self) -> Outcome:
        """The outcome of throughput, the metric that gates."""
        return next((f.outcome for f in self.findings if f.name == "throughput"), Outcome.INCONCLUSIVE)


def gate(
    bench: Bench,
    baseline: Side,
    current: Side,
    tolerances: Tolerances,
    *,
    budget_s: float,
    progress: Callable[[int], None] = lambda _: None,
) -> Gated:
    """Measure both sides interleaved until the speed is settled or the budget, in seconds, is spent."""
    began = time.perf_counter()
    rounds: list[Round] = []

    def settled(read: Sequence[Round]) -> bool:
        progress(len(read))
        log_ratios = [result.log_ratios[0] for result in read]
        return speed_outcome(log_ratios, tolerances.max_slowdown) is not Outcome.INCONCLUSIVE

    side, failure = None, None
    try:
        for result in rounds_until(
            bench,
            (baseline.variant, current.variant),
            settled,
            budget_s=_ROUNDS_SHARE * budget_s,
            rounds=_ROUNDS,
            interpreters=(baseline.build.interpreter, current.build.interpreter),
        ):
            rounds.append(result)
    except SideFailedError as failed:
        side = failed.side
        if not rounds and side == 1 and (cause := _failure_alone(bench, baseline)):
            # What breaks both sides, such as a model file that is gone, is no regression of the current one.
            side, failed = 0, cause
        # One line: some of what it is written into reads commands at the start of others.
        message = " ".join(failed.failure.message.split())
        failure = f"{failed.failure.kind} during {failed.failure.stage}: {message}"
    read = [readings(rounds, which) for which in (0, 1)]
    errors = [sum(record.error is not None for record in records) for records in read]
    ours, theirs = map(bench.with_references(read[0]).score, read)
    found = findings(rounds, ours, theirs, (errors[0], errors[1]), tolerances) if rounds else ()
    seconds, change = time.perf_counter() - began, drift([result.blocks for result in rounds])
    return Gated(found, len(rounds), len(read[0]), seconds, side, failure, change)


def _failure_alone(bench: Bench, side: Side) -> SideFailedError | None:
    alone = replace(bench, folder=bench.folder / "alone")
    try:
        interleaved_round(alone, (side.variant,), [0], 0, (side.build.interpreter,))
    except SideFailedError as failed:
        return failed
    return None
