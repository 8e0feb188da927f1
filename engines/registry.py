"""Finds engines: the modules of this folder and the entry points of the group `ocr_tune.engines`."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

import engines
from engines.interface import Engine, Layer, Machine, Page, Settings

ENTRY_POINT_GROUP = "ocr_tune.engines"
_NOT_ENGINES = {"cache", "interface", "mindee", "pytorch", "registry", "weights"}


class UnknownEngineError(LookupError):
    """No engine has this name."""


@cache
def modules() -> dict[str, str]:
    """The module of each engine, by name."""
    found = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}
    for module in pkgutil.iter_modules(engines.__path__):
        if module.name not in _NOT_ENGINES:
            found[module.name] = f"engines.{module.name}"
    return dict(sorted(found.items()))


def names() -> tuple[str, ...]:
    """Every engine that is installed, usable here or not."""
    return tuple(modules())


def load(name: str) -> Engine:
    """The engine of that name. Raises UnknownEngineError."""
    if name not in modules():
        raise UnknownEngineError(name)
    return cast("Engine", importlib.import_module(modules()[name]))


def fetch(name: str) -> Iterator[str] | None:
    """Download what the engine's `fetch` function finds missing, a sentence a step; None where it has none."""
    step = getattr(load(name), "fetch", None)
    return None if step is None else step()


def calibrate(name: str, pages: Iterable[Page]) -> Settings:
    """What the engine's `calibrate` function makes of sample pages; no settings, and no page drawn, without one."""
    step = getattr(load(name), "calibrate", None)
    return {} if step is None else cast("Settings", step(pages))


def checksums(engine: Engine) -> Mapping[str, str]:
    """SHA-256 of the model files that the engine's `checksums` function finds here, by name; none without one."""
    found = getattr(engine, "checksums", None)
    return {} if found is None else cast("Mapping[str, str]", found())


def absent(engine: Engine, machine: Machine) -> Mapping[str, str]:
    """The parts that the engine's `absent` function finds missing here, with the reason; none without one."""
    found = getattr(engine, "absent", None)
    return {} if found is None else cast("Mapping[str, str]", found(machine))


def layers(
    name: str, settings: Settings, device: str, pages: Sequence[Page], folder: Path
) -> Iterable[Layer]:
    """The layers that the engine's `layers` function timed, its traces in `folder`; none without one."""
    step = getattr(load(name), "layers", None)
    return () if step is None else cast("Iterable[Layer]", step(settings, device, pages, folder))


def compile_models(name: str) -> Sequence[str] | None:
    """The models that the engine's `compile_facts` measures; None where it has none."""
    step = getattr(load(name), "compile_models", None)
    return None if step is None else cast("Sequence[str]", step())


def compile_facts(name: str, model: str, device: str) -> Iterator[Mapping[str, object]]:
    """What torch.compile does with one of those models on `device`, as it is found."""
    return cast("Iterator[Mapping[str, object]]", load(name).compile_facts(model, device))  # type: ignore[attr-defined]
