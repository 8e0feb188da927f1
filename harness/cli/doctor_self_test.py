"""`tune doctor --self-test`: how often the regression gate errs on this machine."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from engines.interface import Machine
from harness.check.selftest import SLOWDOWN_PCT, self_test
from harness.check.verdicts import Outcome
from harness.cli.common import load_data, print_json, stderr
from harness.measure import Bench
from harness.values import Variant


def doctor_self_test(
    base: Variant, machine: Machine, data: Sequence[str], *, budget_s: float, seed: int, as_json: bool
) -> int:
    """Compare the base with itself and with itself slowed, print both error rates. Returns 0."""
    console = stderr()
    loaded = load_data(data, None, console)
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as scratch, console.status("self-test") as status:
        bench = Bench(loaded.pages, loaded.references, Path(scratch), machine, seed)
        found = self_test(bench, base, budget_s=budget_s, progress=status.update)
    if found.ended_by:
        console.print(f"ended early: {found.ended_by}", markup=False, soft_wrap=True)
    seconds = [canary.seconds for canary in found.canaries]
    median_s, p95_s = (float(np.quantile(seconds, share)) for share in (0.5, 0.95))
    unchanged, slowed = found.outcomes(0), found.outcomes(SLOWDOWN_PCT)
    document = {
        "engine": base.engine,
        "slowdown_pct": SLOWDOWN_PCT,
        "unchanged": {"comparisons": len(unchanged), "false_verdicts": found.false_verdicts},
        "slowed": {"comparisons": len(slowed), "caught": found.caught, "missed": found.missed},
        "ended_by": found.ended_by or None,
        "inconclusive": (unchanged + slowed).count(Outcome.INCONCLUSIVE),
        "verdict_s": {"p50": median_s, "p95": p95_s},
        "comparisons": [asdict(canary) for canary in found.canaries],
    }
    if as_json:
        print_json(document)
    else:
        sys.stdout.write(
            f"unchanged: {_of(found.false_verdicts, len(unchanged))} called a regression\n"
            f"slowed by {SLOWDOWN_PCT} %: {_of(found.caught, len(slowed))} caught, {found.missed} passed\n"
            f"inconclusive: {document['inconclusive']}\n"
            f"a verdict takes {median_s:.0f} s (median), {p95_s:.0f} s (95th percentile)\n"
        )
    return 0


def _of(count: int, comparisons: int) -> str:
    """So many of all, with the 95 % interval of the rate (Clopper and Pearson)."""
    chance = binomtest(count, comparisons).proportion_ci()
    return f"{count} of {comparisons} ({100 * chance.low:.0f} to {100 * chance.high:.0f} %)"
