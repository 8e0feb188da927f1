"""The proof, kept round by round: it takes a third of a run and more, and a run that is taken up goes on with it."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.search.confirm import SideBySide
from harness.search.plan import ConfirmPlan
from harness.store import read_bytes, write_atomic
from harness.values import Constraints


@dataclass(frozen=True, slots=True)
class Underway:
    """A proof, and what it was planned by: where that is not so any more, another may be the better one."""

    trials: int
    """Of the baseline and the search, when it began."""
    constraints: Constraints
    began_s: float
    """Seconds since the study began."""
    scheme: ConfirmPlan
    read: SideBySide
    """So far."""


_UNDERWAY = TypeAdapter(Underway)


def keep(path: Path, proof: Underway) -> None:
    """Write it, in place of what it was a round before."""
    write_atomic(path, _UNDERWAY.dump_json(proof).decode())


def known(path: Path, trials: int, constraints: Constraints) -> Underway | None:
    """What is kept of a proof that began after so many trials under these constraints; None for nothing sound.

    Raises UserError for a file that is too large.
    """
    try:
        proof = _UNDERWAY.validate_json(read_bytes(path))
    except (OSError, ValidationError):
        return None
    return proof if (proof.trials, proof.constraints) == (trials, constraints) else None
