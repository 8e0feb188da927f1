"""What torch.compile does with each model of an engine: a process and a deadline for each, kept as they end.

A model that crashes or overruns has a row with what was found before, and the reason; the others are measured all
the same. A matrix that was interrupted goes on where it was.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from harness import describe, environments
from harness.errors import UserError
from harness.store import write_atomic

_MAX_BYTES = 4 << 20
_LIST_S = 120.0

Fact = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Row:
    """What was found about one model, by name, and why no more could be, if so."""

    model: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Matrix:
    """The rows of an engine's models, in its order, and what they hold for."""

    engine: str
    device: str
    machine: str
    """The machine's fingerprint."""
    versions: Mapping[str, str]
    rows: tuple[Row, ...] = ()

    def row_of(self, model: str) -> Row | None:
        """The row of a model, None where it has not been measured."""
        return next((row for row in self.rows if row.model == model), None)

    def resumes(self, other: "Matrix") -> bool:
        """Whether rows of `other` hold here: the same engine, device, machine and versions."""
        return (self.engine, self.device, self.machine, dict(self.versions)) == (
            (other.engine, other.device, other.machine, dict(other.versions))
        )


_MATRIX = TypeAdapter(Matrix)


def to_json(matrix: Matrix) -> str:
    """The text of `matrix.json`."""
    return _MATRIX.dump_json(matrix, indent=2).decode()


def save(path: Path, matrix: Matrix) -> None:
    """Keep the rows so far."""
    write_atomic(path, to_json(matrix))


def saved(path: Path) -> Matrix | None:
    """The matrix of a file, None where there is none. Raises UserError where it is no matrix."""
    if not path.is_file():
        return None
    if path.stat().st_size > _MAX_BYTES:
        raise UserError(f"{path} is larger than {_MAX_BYTES >> 20} MiB; it is not a compile matrix")
    try:
        return _MATRIX.validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(f"{path} is not a compile matrix; name another folder or delete it") from error


def models(engine: str) -> tuple[str, ...]:
    """The models of an engine, wherever it runs. Raises UserError where it has none or cannot tell."""
    command = environments.command(engine, "harness.describe", engine, describe.COMPILE_MODELS)
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=_LIST_S, check=False)
        found = json.loads(child.stdout) if child.returncode == 0 else ()
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise UserError(f"engine {engine!r} cannot be asked for its models: {error}") from error
    if child.returncode:
        raise UserError(f"engine {engine!r}: {_last_line(child.stderr)}")
    if found is None:
        raise UserError(f"engine {engine!r} measures no compile matrix; doctr does")
    return tuple(str(model) for model in found)


def measure(engine: str, model: str, device: str, deadline_s: float) -> Row:
    """The row of one model, from a process of its own that has `deadline_s` seconds."""
    command = environments.command(engine, "harness.describe", engine, describe.COMPILE, model, device)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdout=out, stderr=errors, start_new_session=True)
        try:
            child.wait(deadline_s)
            failure = f"ended with {child.returncode}" if child.returncode else None
        except subprocess.TimeoutExpired:
            failure = f"took longer than {deadline_s:g} s"
        finally:
            _kill_group(child)
        reason = _last_line(_text(errors))
        if child.returncode and failure and failure.startswith("ended"):
            failure = f"{failure}: {reason}"
        return Row(model, dict(_facts(_text(out))), failure)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    # The compiler has workers of its own, which outlive it where it crashes.
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _facts(lines: str) -> Iterator[tuple[str, Fact]]:
    """What a process told before it ended, of which the last line may be torn."""
    for line in lines.splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict):
            yield from (
                (str(name), value)
                for name, value in told.items()
                if value is None or isinstance(value, bool | int | float | str)
            )


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_MAX_BYTES).decode(errors="replace")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
