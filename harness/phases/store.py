"""`phases.json`: a ladder's results in its run folder, rewritten after each rung."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.errors import UserError
from harness.phases.values import LadderResult
from harness.store import write_atomic

FILE = "phases.json"
_MAX_BYTES = 1 << 26
_RESULT = TypeAdapter(LadderResult)


def save(folder: Path, result: LadderResult) -> None:
    """Write the results. Infinite and missing bounds are Infinity and NaN, as Python reads them."""
    write_atomic(folder / FILE, json.dumps(document(result), default=sorted, indent=1))


def document(result: LadderResult) -> dict[str, Any]:
    """The results as plain values, each rung with what else its verdict may be."""
    rungs = [{**asdict(rung), "other_verdicts": rung.other_verdicts} for rung in result.rungs]
    return {**asdict(result), "rungs": rungs}


def read(folder: Path) -> LadderResult:
    """The results of a run folder. Raises UserError."""
    path = folder / FILE
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path} is too large to be the results of a ladder")
        return _RESULT.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"cannot read {path}: {first}; run `tune phases` again with another --out") from error
