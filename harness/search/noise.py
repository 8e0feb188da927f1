"""A/A of the machine: how much trials of one variant differ for nothing, in fresh processes one after the other.

It takes minutes on a slow engine, so it is kept for a week; a machine with another fingerprint measures anew.
"""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import stdev

from pydantic import TypeAdapter, ValidationError

from engines.cache import cache_root
from harness.measure import Bench, Deadline, Limits, measure
from harness.store import write_atomic
from harness.values import Failure, Study, Variant

_MOST_TRIALS = 8
_LEAST_TRIALS = 4
_KEPT_S = 7 * 24 * 3600.0
_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Noise:
    """What a difference between two trials must exceed to mean anything."""

    sd: float
    """Standard deviation of the log of a trial's total, of the objective that was asked for."""
    trials: int
    """How many trials it comes from."""
    measured_at: float
    """Seconds since 1970."""


UNKNOWN = Noise(0.05, 0, 0.0)
"""What was seen on shared machines: in recorded tables, passes of one variant deviate by 3 to 5 %."""
_NOISE = TypeAdapter(Noise)
_LEAST_SD, _MOST_SD = 0.02, 0.15


def reckoned_sd(noise: Noise | None) -> float:
    """The deviation to reckon with: a few trials tell it roughly, and without any it is not known."""
    return min(_MOST_SD, max(_LEAST_SD, (noise or UNKNOWN).sd))


def noise_key(header: Study, base: Variant, label: str) -> str:
    """A name for what a measured noise holds for: this machine or device of it, objective, pages and variant."""
    facts = [header.objective, header.rate, base.id, label, [data.sha256 for data in header.data]]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    return f"{header.fingerprint}-{digest}"


def known(key: str) -> Noise | None:
    """What was measured within the last week under this name; None where nothing was, or nothing sound is kept."""
    path = _path(key)
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        noise = _NOISE.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    fresh = 0 <= time.time() - noise.measured_at < _KEPT_S
    return noise if fresh and math.isfinite(noise.sd) and noise.trials >= _LEAST_TRIALS else None


def keep(key: str, noise: Noise) -> None:
    """For the runs to come. A folder that cannot be written is no reason to end this one."""
    path = _path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, _NOISE.dump_json(noise).decode())
    except OSError:
        return


def measured(
    bench: Bench, variant: Variant, block: Sequence[int], *, trial_s: float, budget_s: float
) -> Noise | None:
    """The noise of trials that read the same `block` of pages; None where the budget has no room for enough of them.

    A trial is expected to take `trial_s` seconds.
    """
    clock = Deadline(budget_s)
    totals: list[float] = []
    while len(totals) < _MOST_TRIALS and clock.left() > trial_s * max(1, _LEAST_TRIALS - len(totals)):
        outcome, _ = measure(bench, variant, [block], Limits(clock.left()))
        if isinstance(outcome, Failure):
            break
        total = bench.objective.total(outcome.blocks)
        if not 0 < total < math.inf:  # a counter of energy that could not be read, or stood still
            break
        totals.append(math.log(total))
    return Noise(stdev(totals), len(totals), time.time()) if len(totals) >= _LEAST_TRIALS else None


def _path(key: str) -> Path:
    return cache_root() / "noise" / f"{key}.json"
