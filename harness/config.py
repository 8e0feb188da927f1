"""`best.yaml`: the tuned config that production loads, validated on the way in and out."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.interface import Machine, Reader, Setting, StageTimer, UnsupportedError
from harness import environments, yaml_text
from harness.errors import UserError, unknown
from harness.values import Interval, Variant

_MAX_BYTES = 4 << 20
FORMAT_VERSION: Literal[1] = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(_Strict):
    """A figure with its 95 % interval; the bounds are absent where they could not be had."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, interval: Interval) -> "Estimate":
        """The same figure, with infinite bounds left out."""
        finite = [bound if abs(bound) < float("inf") else None for bound in (interval.low, interval.high)]
        return cls(value=interval.value, low=finite[0], high=finite[1])


class MachineFacts(_Strict):
    """The machine that the figures belong to."""

    fingerprint: str
    cpu_model: str
    cores: int
    memory_mib: int
    gpus: list[str] = []
    versions: dict[str, str] = {}


class DataFacts(_Strict):
    """One data set that the figures come from."""

    name: str
    sha256: str
    pages: int
    profile: str


class Evidence(_Strict):
    """What was measured for this config, against the engine as its authors ship it."""

    pages: int
    rounds: int
    speedup: Estimate
    pages_per_second: float
    baseline_pages_per_second: float
    latency_p50_ms: float
    cer: Estimate
    baseline_cer: Estimate
    cer_increase: Estimate
    wer: float | None = None
    baseline_wer: float | None = None
    shipped_failure: str | None = None
    """Why the engine as shipped cannot run on that machine; every figure is then against `baseline_settings`."""
    baseline_settings: dict[str, Setting] | None = None
    """What stood in for the engine as shipped, set where that fails."""
    accuracy_is_drift: bool = False
    """True where there was no ground truth: the CER figures then compare with the baseline's own output."""


class Alternative(_Strict):
    """Another variant on the Pareto front of throughput and CER, measured in the search but not confirmed."""

    settings: dict[str, Setting]
    pages_per_second: float
    cer: float


class ConstraintsMet(_Strict):
    """The bounds that the config met."""

    max_cer_increase: float
    max_p95_ms: float | None = None
    max_memory_mib: float | None = None
    max_p99_ms: float | None = None
    max_gpu_memory_mib: float | None = None


class TunedConfig(_Strict):
    """A config with its evidence. Unknown keys are errors."""

    format: Annotated[Literal[1], Field(description="version of this file's format")] = FORMAT_VERSION
    engine: str
    device: str
    settings: dict[str, Setting]
    created: str | None = None
    objective: str | None = None
    rate: float | None = None
    price_per_hour: float | None = None
    machine: MachineFacts | None = None
    data: list[DataFacts] = []
    evidence: Evidence | None = None
    constraints: ConstraintsMet | None = None
    alternatives: list[Alternative] = []

    @property
    def variant(self) -> Variant:
        """The variant that this config describes."""
        return Variant(self.engine, self.device, self.settings)


def to_yaml(config: TunedConfig) -> str:
    """The text of `best.yaml`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def read_config(path: Path) -> TunedConfig:
    """The config of a file. Raises UserError with what is wrong and where."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(
                f"{path} is larger than {_MAX_BYTES >> 20} MiB; it is not a config of this program"
            )
        parsed = yaml_text.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(parsed, dict):
        raise UserError(f"{path} is not a config: it must be a mapping with engine, device and settings")
    try:
        return TunedConfig.model_validate(parsed)
    except ValidationError as error:
        # An unknown key is most often a known one misspelt, and then the reason for a missing one as well.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            owner = _model_at(first["loc"])
            raise UserError(f"{path}: {unknown('key', str(first['loc'][-1]), owner)}") from error
        raise UserError(f"{path}: {where}: {first['msg']}; mend or remove this key") from error


def _model_at(location: Sequence[int | str]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "machine": MachineFacts,
        "data": DataFacts,
        "evidence": Evidence,
        "constraints": ConstraintsMet,
    }
    inner = models.get(str(location[0]), TunedConfig) if len(location) > 1 else TunedConfig
    return list(inner.model_fields)


@contextmanager
def load(path: str | Path, machine: Machine | None = None) -> Iterator[Reader]:
    """Open the engine of a tuned config in this process: `with load("best.yaml") as reader: reader.read(pages)`.

    Settings that the config leaves out are the engine's own. Warns where the config was made on another machine, and
    where it decodes pages in a way of its own: pages, replicas and prefetch are the caller's to arrange. Raises
    UserError.
    """
    # Reading a config stays light.
    from harness.machine import detect, fingerprint  # noqa: PLC0415
    from harness.space import Space, load_engine  # noqa: PLC0415

    config = read_config(Path(path))
    here = machine or detect()
    engine = load_engine(config.engine, here)
    if config.machine and config.machine.fingerprint != fingerprint(here, environments.recorded(engine)):
        warnings.warn(f"{path} was made on another machine: {config.machine.cpu_model}", stacklevel=3)
    space = Space.of(config.engine, config.device, here)
    settings = space.active({**{knob.name: knob.default for knob in space.knobs}, **config.settings})
    if decoding := [
        f"{knob.name}={settings[knob.name]}"
        for knob in space.knobs
        if knob.stage == "decode" and settings[knob.name] != knob.default
    ]:
        warnings.warn(f"{path} was measured on pages decoded with {', '.join(decoding)}", stacklevel=3)
    with ExitStack() as stack:
        try:
            reader = stack.enter_context(engine.open(settings, config.device, StageTimer()))
        except UnsupportedError as error:
            raise UserError(f"{path} cannot be opened here: {error}") from error
        yield reader
