"""Does the gate find what it should, and only that? The same variant beside itself, and beside itself slowed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.check.builds import Build
from harness.check.gate import Side, gate
from harness.check.verdicts import Outcome, Tolerances
from harness.errors import UserError
from harness.measure import Bench
from harness.values import Variant, with_settings

SLOWDOWN_PCT = 5
_KINDS = 2
"""Of comparisons: unchanged and slowed."""


@dataclass(frozen=True, slots=True)
class Canary:
    """One comparison of a variant with itself, slowed or not."""

    slowdown_pct: int
    """0 where nothing was changed."""
    speed: Outcome
    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Comparisons of both kinds, in the order in which they were made."""

    canaries: tuple[Canary, ...]
    ended_by: str = ""
    """What ended it before its time."""

    def outcomes(self, slowdown_pct: int) -> list[Outcome]:
        """Verdicts on speed where the current side was slowed by so much."""
        return [canary.speed for canary in self.canaries if canary.slowdown_pct == slowdown_pct]

    @property
    def false_verdicts(self) -> int:
        """Unchanged sides that were called regressions."""
        return self.outcomes(0).count(Outcome.REGRESSION)

    @property
    def caught(self) -> int:
        """Slowed sides that were called regressions."""
        return self.outcomes(SLOWDOWN_PCT).count(Outcome.REGRESSION)

    @property
    def missed(self) -> int:
        """Slowed sides that were passed."""
        return self.outcomes(SLOWDOWN_PCT).count(Outcome.PASS)


def self_test(
    bench: Bench, variant: Variant, *, budget_s: float, progress: Callable[[str], None] = lambda _: None
) -> SelfTest:
    """Comparisons of both kinds by turns until the budget, in seconds, is spent; at least one of each.

    What ends it early costs only the comparison that it meets. Raises UserError where the variant cannot be measured
    from the first.
    """
    began = time.perf_counter()
    found: list[Canary] = []
    ended_by = ""
    while (
        len(found) < _KINDS
        or time.perf_counter() - began + max(canary.seconds for canary in found) < budget_s
    ):
        number = len(found)
        slowdown_pct = SLOWDOWN_PCT * (number % _KINDS)
        progress(f"comparison {number + 1}: {'slowed' if slowdown_pct else 'unchanged'}")
        current = with_settings(variant, slowdown_pct=slowdown_pct)
        side = Side(variant, Build("this build"))
        run = replace(bench, seed=bench.seed + number, folder=bench.folder / f"{number:04d}")
        left_s = budget_s - (time.perf_counter() - began)
        try:
            gated = gate(
                run, side, Side(current, side.build), Tolerances(), budget_s=left_s / max(1, _KINDS - number)
            )
        except KeyboardInterrupt:
            if number < _KINDS:
                raise
            ended_by = "it was interrupted"
            break
        if gated.failure:
            ended_by = f"the self-test cannot measure {variant.engine}: {gated.failure}"
            if number < _KINDS:
                raise UserError(ended_by)
            break
        found.append(Canary(slowdown_pct, gated.speed, gated.rounds, gated.seconds))
    return SelfTest(tuple(found), ended_by)
