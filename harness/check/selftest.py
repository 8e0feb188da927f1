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


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Speed verdicts of unchanged and of slowed sides, with the seconds that each cost."""

    unchanged: tuple[Outcome, ...]
    slowed: tuple[Outcome, ...]
    seconds: tuple[float, ...]

    @property
    def false_verdicts(self) -> int:
        """Unchanged sides that were called regressions."""
        return self.unchanged.count(Outcome.REGRESSION)

    @property
    def caught(self) -> int:
        """Slowed sides that were called regressions."""
        return self.slowed.count(Outcome.REGRESSION)

    @property
    def missed(self) -> int:
        """Slowed sides that were passed."""
        return self.slowed.count(Outcome.PASS)


def self_test(
    bench: Bench, variant: Variant, *, budget_s: float, progress: Callable[[str], None] = lambda _: None
) -> SelfTest:
    """Comparisons of both kinds by turns until the budget, in seconds, is spent; at least one of each.

    Raises UserError where the variant cannot be measured.
    """
    began = time.perf_counter()
    outcomes: tuple[list[Outcome], list[Outcome]] = ([], [])
    costs: list[float] = []
    while len(costs) < 2 or time.perf_counter() - began + max(costs) < budget_s:
        number = len(costs)
        kind = number % 2
        progress(f"comparison {number + 1}: {'slowed' if kind else 'unchanged'}")
        current = with_settings(variant, slowdown_pct=SLOWDOWN_PCT * kind)
        side = Side(variant, Build("this build"))
        run = replace(bench, seed=bench.seed + number, folder=bench.folder / f"{number:04d}")
        left_s = budget_s - (time.perf_counter() - began)
        gated = gate(run, side, Side(current, side.build), Tolerances(), budget_s=left_s / max(1, 2 - number))
        if gated.failure:
            raise UserError(f"the self-test cannot measure {variant.engine}: {gated.failure}")
        outcomes[kind].append(gated.speed)
        costs.append(gated.seconds)
    return SelfTest(tuple(outcomes[0]), tuple(outcomes[1]), tuple(costs))
