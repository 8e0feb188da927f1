"""What earlier runs found: the best of this machine first, and that of other machines or versions as suggestions."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from engines.interface import Setting
from harness.errors import UserError
from harness.outcome import comparison_of_best
from harness.space import Space
from harness.store import RunFolder
from harness.values import Study

_MOST_RUNS = 50
"""Folders that are looked at, newest first."""


def earlier_runs(folder: Path, besides: Path) -> list[Study]:
    """The studies of the run folders in `folder`, newest first, without their trials; damaged ones are left out."""
    roots = [
        path.parent for path in folder.glob("*/study.json") if path.parent.resolve() != besides.resolve()
    ]
    roots.sort(key=lambda root: root.stat().st_mtime, reverse=True)
    studies = []
    for root in roots[:_MOST_RUNS]:
        try:
            studies.append(RunFolder(root).header())
        except UserError:
            continue
    return studies


def starts(
    studies: Sequence[Study], header: Study, space: Space, *, suggestions: int
) -> tuple[list[dict[str, Setting]], list[dict[str, Setting]]]:
    """The proven settings of the newest run with this fingerprint and device, and of others, at most `suggestions`.

    A fingerprint holds processor, memory, GPUs with driver, the versions of all packages that matter, and weights:
    when one of them changes, what was best before is a suggestion like that of another machine. Nothing that was
    measured then is taken over, only settings.
    """
    same: list[dict[str, Setting]] = []
    other: list[dict[str, Setting]] = []
    for study in studies:
        if (study.engine, study.objective) != (header.engine, header.objective):
            continue
        if study.best is None or comparison_of_best(study) is None:
            continue  # nothing was proven
        here = (study.fingerprint, _alike(study)) == (header.fingerprint, _alike(header))
        (same if here else other).append(space.admitted(study.best.settings))
    return _different(same)[:1], _different(other)[:suggestions]


def _alike(study: Study) -> str:
    """Its first device; sets of cores differ only in size, which the fingerprint holds."""
    first = study.device.partition(",")[0]
    return "cpu" if first.startswith("cpu") else first


def _different(settings: Iterable[dict[str, Setting]]) -> list[dict[str, Setting]]:
    found: list[dict[str, Setting]] = []
    for candidate in settings:
        if candidate not in found:
            found.append(candidate)
    return found
