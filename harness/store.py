"""The run folder: where a study's facts are kept, so that nothing measured is lost.

    best.yaml  report.html  trials.csv  study.db  study.json  trials/0007-1f2e3d4c5b6a/result.json

and `proof.json`, the rounds of the proof: a run that is taken up again goes on with them.

Every file is written under a temporary name, flushed to the disk and renamed: a reader, or a machine that loses
power, sees the old file or the new one.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from harness.errors import UserError
from harness.values import Study, TrialResult

_MAX_JSON_BYTES = 1 << 30
_STUDY = TypeAdapter(Study)
_TRIAL = TypeAdapter(TrialResult)
_T = TypeVar("_T")


def write_atomic(path: Path, text: str) -> None:
    """Write `text` so that `path` holds all of it or what it held before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def to_json(value: TrialResult | Study) -> str:
    """A value as JSON text. Infinite and missing bounds of intervals are Infinity and NaN, as Python reads them."""
    return json.dumps(asdict(value), default=sorted)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """All paths of one run."""

    root: Path

    @classmethod
    def create(cls, root: Path) -> "RunFolder":
        """The folder, made where it is missing. Raises UserError where it cannot be written."""
        try:
            (root / "trials").mkdir(parents=True, exist_ok=True)
            write_atomic(root / ".writable", "")
            (root / ".writable").unlink()
        except OSError as error:
            raise UserError(
                f"cannot write to {root}: {error.strerror}; choose another folder with --out"
            ) from error
        return cls(root)

    @classmethod
    def existing(cls, root: Path) -> "RunFolder":
        """A folder that holds a study. Raises UserError."""
        folder = cls(root)
        if not folder.study_json.is_file():
            raise UserError(
                f"{root} is not a run folder: it has no study.json; give the folder of a `tune` run"
            )
        return folder

    @property
    def best_yaml(self) -> Path:
        """The config that production loads."""
        return self.root / "best.yaml"

    @property
    def report_html(self) -> Path:
        """The report."""
        return self.root / "report.html"

    @property
    def trials_csv(self) -> Path:
        """One row a trial."""
        return self.root / "trials.csv"

    @property
    def study_db(self) -> Path:
        """Optuna's storage."""
        return self.root / "study.db"

    @property
    def study_json(self) -> Path:
        """The study without its trials, which have files of their own."""
        return self.root / "study.json"

    @property
    def proof_json(self) -> Path:
        """The rounds of the proof, under way or judged."""
        return self.root / "proof.json"

    @property
    def profile(self) -> Path:
        """What `tune profile` found of the run's config."""
        return self.root / "profile"

    def profile_seen_from(self, page: Path) -> str | None:
        """The address of the profile's page for a link on `page`; None where there is no profile."""
        index = self.profile / "index.html"
        return quote(os.path.relpath(index, page.parent)) if index.is_file() else None

    def trial(self, number: int, variant_id: str) -> Path:
        """The folder of one trial."""
        return self.root / "trials" / f"{number:04d}-{variant_id}"

    def save_trial(self, trial: TrialResult) -> None:
        """Keep a finished trial."""
        folder = self.trial(trial.number, trial.variant.id)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "result.json", to_json(trial))

    def trials(self) -> list[TrialResult]:
        """Every finished trial, by number. One that was killed half-way has no result and is not among them."""
        paths = sorted(self.root.glob("trials/*/result.json"))
        return [_TRIAL.validate_json(read_bytes(path)) for path in paths]

    def save_study(self, study: Study) -> None:
        """Keep the study's own facts."""
        write_atomic(self.study_json, to_json(replace(study, trials=())))

    def study(self) -> Study:
        """The study with all its finished trials. Raises UserError where the folder is damaged."""
        return replace(self.header(), trials=tuple(self._checked(self.trials)))

    def header(self) -> Study:
        """The study without its trials. Raises UserError where the folder is damaged."""
        return self._checked(lambda: _STUDY.validate_json(read_bytes(self.study_json)))

    def _checked(self, read: Callable[[], _T]) -> _T:
        try:
            return read()
        except (ValidationError, OSError) as error:
            raise UserError(f"{self.root} is damaged or of another version: {_first(error)}") from error


def read_bytes(path: Path) -> bytes:
    """All of a file of a run. Raises UserError for one that is too large, OSError where it cannot be read."""
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise UserError(
            f"{path} is larger than {_MAX_JSON_BYTES >> 20} MiB; it is not a file of this program"
        )
    return path.read_bytes()


def _first(error: ValidationError | OSError) -> str:
    if isinstance(error, OSError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
