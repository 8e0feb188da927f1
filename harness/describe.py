"""What an engine answers in the environment of the interpreter that runs this: the child of `harness.environments`.

Started as `python -m harness.describe ENGINE MACHINE` it prints one JSON document; with `--fetch` for MACHINE it
downloads the engine's weights and prints a sentence a step; with `--compile-models` it prints the models that
torch.compile can be tried on, with `--compile MODEL DEVICE` what it does with one, a JSON object a line. The
engine's module must be light to import.
"""

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import IO, Any

from engines import registry
from engines.interface import Engine, Gpu, Machine, UnsupportedError

FETCH = "--fetch"
WEIGHTS = "weights"
"""Stands among the versions for the checksums of all model files."""
COMPILE_MODELS = "--compile-models"
COMPILE = "--compile"


def machine_json(machine: Machine) -> str:
    """The machine as an argument of this module."""
    return json.dumps({**asdict(machine), "cpu_flags": sorted(machine.cpu_flags)})


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of the distributions that are installed, by name."""
    found = {}
    for package in sorted(packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def recorded(engine: Engine) -> dict[str, str]:
    """Versions of an engine's packages, and twelve digits for all of its weights, in this environment."""
    found = versions(engine.packages())
    if checksums := registry.checksums(engine):
        text = json.dumps(dict(checksums), sort_keys=True)
        found[WEIGHTS] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return found


def answers(name: str, machine: Machine) -> dict[str, Any]:
    """What `harness.environments.Answers` is made from. Raises registry.UnknownEngineError."""
    engine = registry.load(name)
    return {
        "summary": engine.summary(),
        "packages": engine.packages(),
        "unusable": engine.unusable(machine),
        "absent": dict(registry.absent(engine, machine)),
        "knobs": [asdict(knob) for knob in engine.knobs(machine)],
        "versions": {**recorded(engine), "python": platform.python_version()},
    }


def main(name: str, request: str, *details: str) -> int:
    """Answer on stdout, whatever a library prints there. Returns the exit status."""
    with _own_stdout() as out:
        try:
            for line in _lines(name, request, *details):
                out.write(f"{line}\n")
                out.flush()
        except registry.UnknownEngineError:
            sys.stderr.write(f"no engine there has the name {name!r}\n")
            return 1
        except UnsupportedError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


def _lines(name: str, request: str, *details: str) -> Iterator[str]:
    if request == FETCH:
        yield from registry.fetch(name) or ()
    elif request == COMPILE_MODELS:
        yield json.dumps(registry.compile_models(name))
    elif request == COMPILE:
        model, device = details
        yield from map(json.dumps, registry.compile_facts(name, model, device))
    else:
        yield json.dumps(answers(name, _machine(json.loads(request))))


@contextmanager
def _own_stdout() -> Iterator[IO[str]]:
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        yield out


def _machine(value: dict[str, Any]) -> Machine:
    gpus = tuple(Gpu(**gpu) for gpu in value["gpus"])
    return Machine(**{**value, "gpus": gpus, "cpu_flags": frozenset(value["cpu_flags"])})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
