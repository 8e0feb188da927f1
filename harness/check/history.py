"""The record of many nights: append-only JSON lines, one file a machine, and where the trend changed.

A verdict never comes from here: nights differ by what else a machine does. History is for trends.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from harness.check.verdicts import Outcome
from harness.errors import UserError

_MAX_BYTES = 64 << 20
_MIN_SEGMENT = 5
"""Nights that a level must last: a spike of one or two is no change."""
_LATEST = 400
"""Nights that are searched for changes."""


class Point(BaseModel):
    """One metric of one night."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    baseline: float
    current: float
    worse: float
    outcome: Outcome


class Night(BaseModel):
    """One check, as one line of the history."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    at: str
    """ISO 8601 with time zone."""
    fingerprint: Annotated[str, StringConstraints(pattern="^[0-9a-f]+$")]
    machine: str
    commit: str | None
    against: str
    versions: dict[str, str]
    data: dict[str, str]
    """SHA-256 of each data set, by name."""
    pages: int
    rounds: int
    outcome: Outcome
    metrics: dict[str, Point]
    """Empty where the current side could not be measured at all."""
    failure: str | None = None
    """Why the current side could not be measured to the end."""


@dataclass(frozen=True, slots=True)
class History:
    """What a folder of history holds."""

    nights: tuple[Night, ...]
    unreadable: int
    """Lines that were torn or are not ours."""


def append(folder: Path, night: Night) -> Path:
    """Add a line to the file of its machine, durably. Raises UserError where it cannot be written."""
    path = folder / f"{night.fingerprint}.jsonl"
    line = night.model_dump_json().encode() + b"\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                # A line that a power cut tore must not spoil this one.
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"cannot write the history {path}: {error.strerror}; choose another --history"
        ) from error
    return path


def is_history(folder: Path) -> bool:
    """Whether a folder holds histories."""
    return folder.is_dir() and any(folder.glob("*.jsonl"))


def read(folder: Path) -> History:
    """Every night of every machine, oldest first. Raises UserError where there is none."""
    nights: list[Night] = []
    unreadable = 0
    for path in sorted(folder.glob("*.jsonl")):
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path} is larger than {_MAX_BYTES >> 20} MiB; move older lines elsewhere")
        for line in path.read_bytes().splitlines():
            try:
                nights.append(Night.model_validate_json(line))
            except ValidationError:
                unreadable += 1
    if not nights:
        raise UserError(f"{folder} holds no night that can be read; run `tune check --history {folder}`")
    return History(tuple(sorted(nights, key=lambda night: night.at)), unreadable)


def change_points(values: Sequence[float]) -> list[int]:
    """Positions at which a new level begins that lasts, by the exact least-absolute-deviation segmentation (PELT).

    The cost is that of medians, which a single spike does not move. Values are scaled by their noise from one
    night to the next, and a further level must save 4 log(n) of it. Fewer than ten values have no change.
    """
    if len(values) < 2 * _MIN_SEGMENT:
        return []
    import numpy as np  # noqa: PLC0415  slow to load
    from ruptures import Pelt  # noqa: PLC0415  slow to load

    skipped = max(0, len(values) - _LATEST)
    signal = np.array(values[skipped:], dtype=float)
    steps = np.abs(np.diff(signal))
    # 1.4826 MAD estimates the deviation of steps, which is sqrt(2) times that of values.
    noise = 1.4826 * float(np.median(steps)) / math.sqrt(2)
    noise = max(noise, 1e-3 * abs(median(signal)), 1e-12)
    found = Pelt(model="l1", min_size=_MIN_SEGMENT, jump=1).fit_predict(
        signal / noise, pen=4 * math.log(len(signal))
    )
    return [skipped + position for position in found[:-1]]
