"""Parameters of a page service derived from the hardware alone: a first guess before anything is measured.

The rule is that of the published PP-StructureV3 plan (phase 0). Pure, but for `available_memory_gib`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from engines.interface import Knob, Machine, Ordered, Setting

_GIB_A_PAGE_AHEAD = 0.5
_BATCHES = ((4.0, 1, 8), (6.0, 2, 16), (8.0, 3, 24))
"""Up to so many GiB of VRAM: detection batch, recognition batch."""
_LARGEST = (4, 32)


@dataclass(frozen=True, slots=True)
class HardwareRule:
    """What the rule gives: images per detection call, lines per recognition call, pages ahead, threads."""

    det_batch: int
    rec_batch: int
    prefetch: int
    workers: int


def hardware_rule(available_ram_gib: float, vram_gib: float, cores: int) -> HardwareRule:
    """The rule for available (not total) RAM and VRAM of the first GPU in GiB (0 without one), and cores."""
    det, rec = next(((det, rec) for limit, det, rec in _BATCHES if vram_gib <= limit), _LARGEST)
    return HardwareRule(
        det_batch=det,
        rec_batch=rec,
        prefetch=_clamp(int(available_ram_gib / _GIB_A_PAGE_AHEAD), 4, 16),
        workers=_clamp(cores // 2, 2, 6),
    )


def available_memory_gib() -> float:
    """RAM that can be had now without swapping, in GiB."""
    return float(psutil.virtual_memory().available) / 2**30


def rule_for(machine: Machine, available_ram_gib: float) -> HardwareRule:
    """The rule on `machine`, whose first GPU counts."""
    vram_gib = machine.gpus[0].memory_mib / 1024 if machine.gpus else 0.0
    return hardware_rule(min(available_ram_gib, machine.memory_mib / 1024), vram_gib, machine.cores)


def suggestion(rule: HardwareRule, knobs: Mapping[str, Knob]) -> dict[str, Setting]:
    """The rule as settings, for the knobs that exist, each clamped to what its knob admits."""
    wanted = {
        "det_batch": rule.det_batch,
        "rec_batch": rule.rec_batch,
        "prefetch": rule.prefetch,
        "decode_threads": rule.workers,
    }
    return {
        name: _clamp(value, *_bounds(knobs[name].domain))
        for name, value in wanted.items()
        if name in knobs and isinstance(knobs[name].domain, Ordered)
    }


def _bounds(domain: object) -> tuple[int, int]:
    if not isinstance(domain, Ordered):
        raise TypeError("only ordered knobs have bounds")
    low = domain.values[0] if domain.low is None else domain.low
    high = domain.values[-1] if domain.high is None else domain.high
    return int(low), int(high)


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))
