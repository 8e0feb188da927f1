"""The runtimes that a stage may choose from, behind one interface."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from engines.interface import (
    Choice,
    Knob,
    Machine,
    Ordered,
    OutOfMemoryError,
    Setting,
    Settings,
    Stage,
    UnsupportedError,
    core_counts,
)
from engines.ppocr.runtimes import devices, onnx_runtime, open_vino, paddle_runtime, torch_runtime
from engines.ppocr.runtimes.devices import device_of
from engines.ppocr.runtimes.session import Session, Tensor, allocation_failures

__all__ = [
    "RUNTIMES",
    "Profiled",
    "Session",
    "StageOptions",
    "Tensor",
    "allocation_failures",
    "device_of",
    "knobs",
    "model_format",
    "open_session",
    "profiling",
]

PROFILE = "profile"
"""An option that is no knob: the folder for a runtime's trace, where sessions are opened to profile."""


class Runtime(Protocol):
    """The functions of a runtime's module."""

    FORMAT: str
    """Format of the model files that it reads; see `engines.ppocr.models`."""

    def absence(self, machine: Machine) -> str | None:
        """Why it, or its part for the GPUs of `machine`, cannot run here, with the remedy; None where it can.

        Imports nothing heavy.
        """
        ...

    def knobs(self, prefix: str, stage: Stage, machine: Machine) -> Iterator[Knob]:
        """What this runtime can be told for one stage; `prefix` begins the names."""
        ...

    def open(self, path: Path, options: Settings, device: str) -> Session:
        """Load the model at `path`; `options` are the knobs of the stage without its prefix.

        Raises UnsupportedError where it does not run on `device`.
        """
        ...


RUNTIMES: Mapping[str, Runtime] = {
    "onnxruntime": onnx_runtime,
    "openvino": open_vino,
    "torch": torch_runtime,
    "paddle": paddle_runtime,
}


def knobs(prefix: str, stage: Stage, machine: Machine) -> Iterator[Knob]:
    """The choice of a runtime, its threads, and what each runtime can be told, for one stage."""
    yield Knob(
        f"{prefix}_runtime",
        stage,
        Choice(tuple(RUNTIMES)),
        "onnxruntime",
        "what runs the model",
        changes_text=True,
    )
    yield Knob(
        f"{prefix}_threads",
        stage,
        Ordered((0, *core_counts(machine.cores)), high=machine.cores),
        0,
        "threads of one call; 0 leaves it to the runtime, which takes all cores",
    )
    yield from devices.knobs(prefix, stage, machine)
    for runtime in RUNTIMES.values():
        yield from runtime.knobs(prefix, stage, machine)


class StageOptions(Mapping[str, Setting]):
    """The settings whose names begin with `prefix`, without it."""

    def __init__(self, prefix: str, settings: Settings) -> None:
        self._start, self._settings = f"{prefix}_", settings

    def __getitem__(self, name: str) -> Setting:
        return self._settings[self._start + name]

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(self._start) for name in self._settings if name.startswith(self._start))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def model_format(options: Settings) -> str:
    """Format of the model files that the runtime of a stage reads."""
    return RUNTIMES[str(options["runtime"])].FORMAT


@dataclass(frozen=True, slots=True)
class Profiled:
    """The sessions that are opened to profile, by the name of their model, and the folder for their traces."""

    folder: Path
    sessions: dict[str, Session] = field(default_factory=dict)


_PROFILED: ContextVar[Profiled | None] = ContextVar("profiled", default=None)


@contextmanager
def profiling(folder: Path) -> Iterator[Profiled]:
    """Sessions that are opened in the block time their layers."""
    opened = Profiled(folder)
    token = _PROFILED.set(opened)
    try:
        yield opened
    finally:
        _PROFILED.reset(token)


def open_session(path: Path, options: Settings, device: str) -> Session:
    """Load the model at `path` as the options of a stage say (see `StageOptions`), in a run on `device`.

    Raises UnsupportedError where the runtime does not run on the stage's device or cannot read the file.
    """
    runtime = str(options["runtime"])
    device = device_of(options, device)
    profiled = _PROFILED.get()
    if profiled is not None:
        options = {**options, PROFILE: str(profiled.folder)}
    try:
        with allocation_failures():
            session = RUNTIMES[runtime].open(path, options, device)
    except (UnsupportedError, OutOfMemoryError, ImportError):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[-1]
        raise UnsupportedError(f"{runtime} cannot load {path}: {reason}") from error
    if profiled is not None:
        profiled.sessions[f"{len(profiled.sessions)} {path.parent.name}/{path.stem}"] = session
    return session
