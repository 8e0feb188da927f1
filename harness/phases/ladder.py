"""Ladders as data: `experiments/NAME.yaml` with the key `ladder`. Search spaces lie in `experiments/search/`."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.interface import Setting
from harness import yaml_text
from harness.errors import UserError
from harness.phases.values import Quantity

_MAX_BYTES = 1 << 20
Need = Literal["gpu", "several_gpus", "nvidia_tensor_cores", "apple_gpu"]
Probe = Literal[
    "counters", "documents", "grid", "kernels", "look_alikes", "repeated_pages", "retreats", "stages"
]
"""What is found out about a technique that is no setting; see `harness.phases.probes`."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Claim(_Model):
    """What was published: a factor on the rung's quantity, a range of it, or words."""

    gain: float | tuple[float, float] | None = None
    note: str = ""

    @property
    def range(self) -> tuple[float, float] | None:
        """The claimed range; a single figure is both its ends."""
        return (self.gain, self.gain) if isinstance(self.gain, float) else self.gain

    @property
    def low(self) -> float | None:
        """The least gain that was claimed."""
        return self.gain[0] if isinstance(self.gain, tuple) else self.gain

    @property
    def text(self) -> str:
        """The claim in a few words."""
        gain = self.gain
        numbers = f"{gain[0]:g} to {gain[1]:g}×" if isinstance(gain, tuple) else f"{gain:g}×" if gain else ""
        return "; ".join(part for part in (numbers, self.note) if part)


class Rung(_Model):
    """One technique: settings an engine, or what is found out about one that is no setting."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    technique: str
    claim: Claim = Claim()
    settings: Annotated[
        dict[str, dict[str, Setting] | Literal["hardware_rule"]],
        Field(description="by engine, tried in the order of the ladder's engines"),
    ] = {}
    beside: Annotated[str | None, Field(description="the rung to stand on instead of the last")] = None
    given: Annotated[
        dict[str, dict[str, Setting]],
        Field(description="by engine: what holds for this rung and for the one that it stands on as well"),
    ] = {}
    needs: tuple[Need, ...] = ()
    quantity: Annotated[Quantity, Field(description="what the claim is about")] = Quantity.THROUGHPUT
    probe: Annotated[Probe | None, Field(description="for what is no setting: what to find out")] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Rung":
        if bool(self.settings) == bool(self.probe):
            raise ValueError(f"rung {self.id!r} needs either settings or a probe")
        return self


class Ladder(_Model):
    """A baseline and rungs."""

    ladder: str
    about: str = ""
    engines: Annotated[tuple[str, ...], Field(min_length=1, description="the guide's own engine first")]
    baseline: dict[str, dict[str, Setting]] = {}
    rungs: Annotated[tuple[Rung, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> "Ladder":
        seen = {"baseline"}
        for rung in self.rungs:
            if rung.id in seen:
                raise ValueError(f"rung {rung.id!r} is there twice")
            if rung.beside is not None and rung.beside not in seen:
                raise ValueError(f"rung {rung.id!r} stands beside {rung.beside!r}, which is no earlier rung")
            seen.add(rung.id)
        used = {engine for rung in self.rungs for engine in (*rung.settings, *rung.given)} | set(
            self.baseline
        )
        if missing := used - set(self.engines):
            raise ValueError(f"engines lacks {', '.join(sorted(missing))}")
        return self


def read_ladder(path: Path) -> Ladder:
    """The ladder of a file. Raises UserError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path} is larger than 1 MiB: that is no ladder")
        data = yaml_text.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; give a file such as experiments/scipix.yaml"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or "ladder" not in data:
        raise UserError(f"{path} is not a ladder: it lacks the key `ladder`; see experiments/scipix.yaml")
    try:
        return Ladder.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise UserError(f"{path} is not a sound ladder: {where}: {first['msg']}") from error
