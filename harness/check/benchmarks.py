"""What pytest-benchmark writes with `--benchmark-json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import UserError

_MAX_BYTES = 256 << 20


class _Stats(BaseModel):
    median: float
    iqr: float
    rounds: int


class _Case(BaseModel):
    fullname: str
    stats: _Stats
    extra_info: dict[str, Any] = {}


class _File(BaseModel):
    benchmarks: list[_Case]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One case."""

    fullname: str
    median_s: float
    iqr_s: float
    rounds: int
    extra: dict[str, str | float | bool | None]


def read_benchmarks(path: Path) -> tuple[Benchmark, ...]:
    """The cases of a file. Raises UserError with what is wrong and where."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(
                f"{path} is larger than {_MAX_BYTES >> 20} MiB; it is no file of pytest-benchmark"
            )
        found = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(
            f"{path} is no file of `pytest --benchmark-json` ({where or 'not JSON'}: {error.errors()[0]['msg']})"
        ) from error
    return tuple(
        Benchmark(case.fullname, case.stats.median, case.stats.iqr, case.stats.rounds, case.extra_info)
        for case in found.benchmarks
    )
