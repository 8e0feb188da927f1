"""Engines whose dependencies conflict: each may run under an interpreter of its own.

The user's configuration names the interpreter; the worker is started with it, and a child of it answers what the
engine can do there, once a run. Nothing of such an engine is imported in this process.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from engines import registry
from engines.interface import Engine, Knob, Machine, Page, Reader, Settings, StageTimer, UnsupportedError
from harness import describe
from harness.errors import UserError, unknown

PROJECT_FILE = "ocr-tune.toml"
_MAX_BYTES = 1 << 20
_ANSWER_S = 120.0


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineConfig(_Strict):
    """What the user says of one engine."""

    python: Path
    """Interpreter of the environment that the engine runs in; a relative path is seen from the file's folder."""


class UserConfig(_Strict):
    """The user's configuration file. Unknown keys are errors."""

    engines: dict[str, EngineConfig] = {}


@dataclass(frozen=True, slots=True)
class Answers:
    """What an engine says of itself in its own environment."""

    summary: str
    packages: tuple[str, ...]
    unusable: str | None
    knobs: tuple[Knob, ...]
    versions: Mapping[str, str]
    absent: Mapping[str, str] = field(default_factory=dict)


_ANSWERS = TypeAdapter(Answers)


@dataclass(frozen=True, slots=True)
class ForeignEngine:
    """An engine in another environment, as far as this process can speak for it. It cannot be opened here."""

    name: str
    python: Path
    machine: Machine

    def summary(self) -> str:
        """One sentence: what it is, with the licence of code and weights."""
        return _ask(self.name, self.python, self.machine).summary

    def packages(self) -> tuple[str, ...]:
        """Distributions whose versions decide what it does."""
        return _ask(self.name, self.python, self.machine).packages

    def versions(self) -> dict[str, str]:
        """Versions of its packages and of Python, and a checksum of its weights, in its environment."""
        return dict(_ask(self.name, self.python, self.machine).versions)

    def unusable(self, machine: Machine) -> str | None:
        """Why it cannot run here, None where it can."""
        return _ask(self.name, self.python, machine).unusable

    def absent(self, machine: Machine) -> Mapping[str, str]:
        """Parts that cannot run here, with the reason."""
        return _ask(self.name, self.python, machine).absent

    def knobs(self, machine: Machine) -> tuple[Knob, ...]:
        """What can be set on this machine."""
        return _ask(self.name, self.python, machine).knobs

    def open(self, settings: Settings, device: str, timer: StageTimer) -> AbstractContextManager[Reader]:
        """Raises UnsupportedError: it runs in workers only."""
        del settings, device, timer
        raise UnsupportedError(
            f"engine {self.name!r} runs under {self.python}, not in this process; "
            "install ocr-tune there and load the config with that interpreter"
        )


def names() -> tuple[str, ...]:
    """Every engine that is installed here or that the user's configuration names."""
    return tuple(sorted({*registry.names(), *user_config().engines}))


def find(name: str, machine: Machine) -> Engine:
    """The engine of that name, wherever it runs. Raises UserError."""
    if python := interpreter(name):
        return ForeignEngine(name, python, machine)
    try:
        return registry.load(name)
    except registry.UnknownEngineError as error:
        raise unknown("engine", name, names()) from error


def versions_of(engine: Engine) -> dict[str, str]:
    """Versions of an engine's packages in the environment that it runs in, by name."""
    if isinstance(engine, ForeignEngine):
        return engine.versions()
    return describe.versions(engine.packages())


def recorded(engine: Engine) -> dict[str, str]:
    """What decides how fast an engine is and what it reads: versions, the tool's too, and a checksum of weights."""
    own = engine.versions() if isinstance(engine, ForeignEngine) else describe.recorded(engine)
    return {**own, **describe.versions(["ocr-tune"])}


def fetch(name: str) -> Iterator[str] | None:
    """Download the weights that an engine finds missing, a sentence a step; None where it has none to fetch.

    Raises UnsupportedError.
    """
    if python := interpreter(name):
        return _fetch(name, python)
    return registry.fetch(name)


def interpreter(name: str) -> Path | None:
    """The interpreter that the user gave an engine, None where it runs under this one. Raises UserError."""
    entry = user_config().engines.get(name)
    # Not resolved: the interpreters of virtual environments are links to one and the same.
    return None if entry is None or entry.python == Path(sys.executable) else entry.python


def calibrate(name: str, pages: Iterable[Page]) -> Settings:
    """What an engine makes of sample pages; an engine elsewhere is given none, for pages do not cross over."""
    return {} if interpreter(name) else registry.calibrate(name, pages)


def command(name: str, module: str, *arguments: str, python: Path | None = None) -> list[str]:
    """The command that runs a module of the tool where an engine runs.

    An engine without an interpreter of its own runs under `python`, by default this one, which has the tool itself.
    """
    if elsewhere := interpreter(name):
        return _command_elsewhere(elsewhere, module, *arguments)
    return [str(python or sys.executable), "-P", "-X", "faulthandler", "-m", module, *arguments]


def _command_elsewhere(python: Path, module: str, *arguments: str) -> list[str]:
    # Isolated: neither the user's site nor PYTHONPATH may bring packages of another environment in.
    elsewhere = str(Path(__file__).with_name("elsewhere.py"))
    return [str(python), "-I", "-X", "faulthandler", elsewhere, module, *arguments]


@cache
def user_config() -> UserConfig:
    """The user's configuration: `ocr-tune.toml` in the working directory, else the one of their config folder.

    Read once. Raises UserError.
    """
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for path in (Path.cwd() / PROJECT_FILE, home / "ocr-tune" / "config.toml"):
        if path.is_file():
            return _read(path)
    return UserConfig()


def _read(path: Path) -> UserConfig:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(
                f"{path} is larger than {_MAX_BYTES >> 20} MiB; it is not a configuration of ocr-tune"
            )
        config = UserConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(str(part) for part in wrong["loc"])
        hint = '[engines.NAME] python = "/path/to/venv/bin/python"'
        raise UserError(f"{path}: {where}: {wrong['msg']}; it may hold {hint}") from error
    entries = {
        name: EngineConfig(python=path.parent / entry.python.expanduser())
        for name, entry in config.engines.items()
    }
    return UserConfig(engines=entries)


@cache
def _ask(name: str, python: Path, machine: Machine) -> Answers:
    """What an engine says of itself under `python`; where it cannot be asked, why it is unusable."""
    arguments = _command_elsewhere(python, "harness.describe", name, describe.machine_json(machine))
    try:
        child = subprocess.run(arguments, capture_output=True, text=True, timeout=_ANSWER_S, check=True)
        return _ANSWERS.validate_python(json.loads(child.stdout))
    except OSError as error:
        reason = f"cannot be started: {error.strerror}"
    except subprocess.CalledProcessError as error:
        reason = f"failed: {_last_line(error.stderr)}"
    except subprocess.TimeoutExpired:
        reason = f"did not answer within {_ANSWER_S:.0f} s"
    except (json.JSONDecodeError, ValidationError):
        reason = "did not answer as an engine does"
    sentence = f"its interpreter {python} {reason}; mend engines.{name}.python in your configuration"
    return Answers(f"in an environment of its own: {python}", (), sentence, (), {})


def _fetch(name: str, python: Path) -> Iterator[str]:
    arguments = _command_elsewhere(python, "harness.describe", name, describe.FETCH)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        try:
            child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=errors, text=True)
        except OSError as error:
            raise UnsupportedError(f"{python} cannot be started: {error.strerror}") from error
        with child:
            yield from (line.rstrip("\n") for line in child.stdout or ())
        if child.returncode:
            errors.seek(0)
            raise UnsupportedError(_last_line(errors.read()))


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
