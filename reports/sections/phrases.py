"""Phrases that several sections use."""

import math
from collections.abc import Sequence

from engines.interface import Machine, Setting
from harness.values import Interval, Variant
from reports.view import Run
from reports.words import DASH, count, factor, number

ARROW = "\N{RIGHTWARDS ARROW}"


def arrow(values: Sequence[str]) -> str:
    """Values from the baseline to the best."""
    return f" {ARROW} ".join(values)


def value(setting: Setting | None) -> str:
    """A setting as a configuration file would show it; a dash where it does not apply."""
    if setting is None:
        return DASH
    return str(setting).lower() if isinstance(setting, bool) else str(setting)


def changed(run: Run, variant: Variant) -> str:
    """The settings in which `variant` differs from the defaults, in a line."""
    return ", ".join(f"{name}={value(after)}" for name, (_, after) in run.changes(variant).items()) or DASH


def machine_line(machine: Machine) -> str:
    """The machine in a few words."""
    gpus = [gpu.name for gpu in machine.gpus]
    parts = [
        machine.cpu_model,
        count(machine.cores, "core"),
        f"{number(machine.memory_mib / 1024, 2)} GiB",
        *gpus,
    ]
    return ", ".join(part for part in parts if part)


def ratio_range(interval: Interval) -> str:
    """The interval of a ratio of speeds; a dash where too few rounds allow none."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return DASH
    return f"{factor(interval.low)} to {factor(interval.high)}"
