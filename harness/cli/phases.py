"""`tune phases`: published techniques, one on top of the other, claimed beside measured."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.markup import escape

from engines.interface import Machine
from harness import environments
from harness.cli.arguments import seconds
from harness.cli.common import LoadedData, load_data, make_folder, print_json, stderr
from harness.data.refs import PageRef
from harness.describe import WEIGHTS, versions
from harness.errors import UserError
from harness.machine import describe, detect, resolve_device
from harness.measure import Bench
from harness.phases import store
from harness.phases.climb import Climb
from harness.phases.ladder import read_ladder
from harness.phases.values import LadderResult, Quantity, RungResult
from harness.search.calibration import MAX_PAGES
from harness.search.plan import split_pages
from harness.space import load_engine
from harness.store import write_atomic
from harness.values import ReferencePage

_HELD_BACK = 3
"""One page in so many, at most, is kept for models that are built from pages."""
_SHORTEST_BUDGET_S = 30.0
_BRIEF = 80


def phases(
    file: Path,
    /,
    *,
    device: str = "auto",
    budget: Annotated[float, Parameter(converter=seconds)] = 1200.0,
    data: Annotated[list[str] | None, Parameter(negative="")] = None,
    pages: Annotated[int, Parameter(validator=Number(gte=1))] = 12,
    profile: str | None = None,
    out: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure each rung of a ladder against the one before it and against the baseline.

    Exits 0 where the ladder ran, whatever its verdicts.

    Parameters
    ----------
    file
        The ladder, such as experiments/scipix.yaml.
    device
        auto, cpu, cuda:0, ...
    budget
        Time for all rungs together, earlier parts of a resumed run included; about a minute a rung.
    data
        Data set or path; may be given several times.
    pages
        Pages that rungs are measured on, a fair sample of the data; a short run may not come to all of them.
    profile
        Normalisation profile instead of the data set's own.
    out
        Run folder for phases.json and report.html. Default: runs/DATE-NAME.
    resume
        Go on with the ladder in --out: rungs that are done and not inconclusive are not measured again.
    seed
        Seed of pages, order and coins.
    json
        Print one JSON document.
    """
    console = stderr()
    ladder = read_ladder(file)
    if budget < _SHORTEST_BUDGET_S:
        raise UserError(f"a budget of {budget:g} s is too short for a ladder; give at least 30s")
    machine = detect()
    where = resolve_device(device, machine)
    loaded = load_data(data or [], profile, console)
    folder = _folder(out, ladder.ladder, resume)
    sample = _sample(loaded, pages, seed)
    result = LadderResult(
        ladder=ladder.ladder,
        about=ladder.about,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=describe(machine),
        versions=_versions(ladder.engines, machine),
        device=where,
        data={summary.name: summary.sha256 for summary in loaded.summaries},
        pages=tuple(page.id for page in sample.pages),
        seed=seed,
        budget_s=budget,
        spent_s=0.0,
        rungs=(),
        rungs_in_ladder=len(ladder.rungs),
    )
    earlier = store.read(folder) if resume and (folder / store.FILE).exists() else None
    if earlier:
        _refuse_other(earlier, result, folder)
        result = replace(result, created=earlier.created, spent_s=earlier.spent_s)
    climb = Climb(
        ladder,
        Bench(sample.pages, sample.references, folder / "work", machine, seed),
        where,
        budget - result.spent_s,
        every_page=loaded.pages,
        calibration=sample.held_back,
        earlier={rung.id: rung for rung in earlier.rungs} if earlier else {},
    )
    result = _climbed(climb, result, folder, console)
    _finish(result, folder)
    if json:
        print_json(store.document(result))
    console.print(f"report  {folder / 'report.html'}", soft_wrap=True, markup=False)
    return 0


def _climbed(climb: Climb, result: LadderResult, folder: Path, console: Console) -> LadderResult:
    """The result with its rungs, saved as they come; after Ctrl-C, with what was known of each by then."""
    began_s, spent_s = time.perf_counter(), result.spent_s
    known = dict(climb.earlier)
    order = [rung.id for rung in climb.ladder.rungs]

    def save(rungs: Sequence[RungResult]) -> LadderResult:
        known.update({rung.id: rung for rung in rungs})
        saved = replace(
            result,
            rungs=tuple(known[name] for name in order if name in known),
            spent_s=spent_s + time.perf_counter() - began_s,
        )
        store.save(folder, saved)
        return saved

    with console.status("climbing") as status:

        def said(rounds: int, rungs: Sequence[RungResult]) -> None:
            save(rungs)
            status.update(f"climbing: round {rounds}, {len(rungs)} rungs in turn")

        climb.progress = said
        try:
            for rung in climb.run():
                save([rung])
                console.print(line(rung), soft_wrap=True)
        except KeyboardInterrupt:
            if not known:
                raise
            console.print("[yellow]interrupted[/]: what was measured is kept; go on with --resume")
    return save([])


def _finish(result: LadderResult, folder: Path) -> None:
    from reports import render_phases

    store.save(folder, result)
    write_atomic(folder / "report.html", render_phases([result]))


def _versions(engines: Sequence[str], machine: Machine) -> dict[str, str]:
    """Of what decides how fast the engines of a ladder are and what they read, as far as they are usable."""
    found = versions(["onnxruntime", "openvino", "torch"])
    for name in engines:
        try:
            recorded = environments.recorded(load_engine(name, machine))
        except UserError:
            continue
        found |= {f"{name} {key}" if key == WEIGHTS else key: value for key, value in recorded.items()}
    return found


def _folder(out: Path | None, name: str, resume: bool) -> Path:
    if resume and out is None:
        raise UserError("--resume needs the run folder to go on with: give it with --out")
    path = out or Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{name}"
    make_folder(path)
    if (path / "study.json").exists() or ((path / store.FILE).exists() and not resume):
        raise UserError(f"{path} already holds a run; add --resume or choose another --out")
    return path


def _refuse_other(earlier: LadderResult, now: LadderResult, folder: Path) -> None:
    """A ladder goes on only where its rungs can be compared: on the same machine, versions and pages."""
    for name in ("ladder", "machine", "versions", "device", "data", "pages", "seed"):
        before, here = getattr(earlier, name), getattr(now, name)
        if before != here:
            raise UserError(
                f"{folder} cannot be resumed: its {name} differ ({_brief(before)} there, {_brief(here)} here); "
                "choose another --out"
            )


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."


@dataclass(frozen=True, slots=True)
class _Sample:
    """Pages to measure on with their references, and others that models may be built from."""

    pages: tuple[PageRef, ...]
    references: tuple[ReferencePage, ...]
    held_back: tuple[PageRef, ...]


def _sample(loaded: LoadedData, count: int, seed: int) -> _Sample:
    shuffled = split_pages(loaded.references, seed).every
    held = min(MAX_PAGES, len(shuffled) // _HELD_BACK)
    chosen = shuffled[: min(count, len(shuffled) - held)]
    rest = shuffled[len(chosen) :][:MAX_PAGES]
    return _Sample(
        tuple(loaded.pages[i] for i in chosen),
        tuple(loaded.references[i] for i in chosen),
        tuple(loaded.pages[i] for i in rest),
    )


def line(rung: RungResult) -> str:
    """A rung on a terminal, with markup."""
    head = f"[bold]{escape(rung.id):<26}[/] {rung.verdict_text:<20}"
    claim = f"claimed {rung.claim}" if rung.claim else "nothing claimed"
    if rung.gain is None:
        return f"{head} [dim]{escape(rung.reason)}[/]"
    gain, cer = rung.gain.speedup, rung.gain.cer_increase
    interval = f" ({gain.low:.2f} to {gain.high:.2f})" if math.isfinite(gain.high) else ""
    accuracy = "" if math.isnan(cer.value) else f", CER {100 * cer.value:+.2f} points"
    engine = rung.variant.engine if rung.variant else ""
    of = "" if rung.quantity is Quantity.THROUGHPUT else f" in {rung.quantity}"
    total = f", {rung.total.speedup.value:.2f}x of the baseline" if rung.total else ""
    found = f"{gain.value:.2f}x{interval}{of}{total}{accuracy} on {engine} [dim]{escape(claim)}[/]"
    return f"{head} {found} {escape(rung.reason)}".rstrip()
