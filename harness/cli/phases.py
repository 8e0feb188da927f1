"""`tune phases`: published techniques, one on top of the other, claimed beside measured."""

import math
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from harness.cli.arguments import seconds
from harness.cli.common import LoadedData, load_data, print_json, stderr
from harness.data.refs import PageRef
from harness.describe import versions
from harness.errors import UserError
from harness.machine import describe, detect, resolve_device
from harness.measure import Bench
from harness.phases import store
from harness.phases.climb import Climb
from harness.phases.ladder import read_ladder
from harness.phases.values import LadderResult, RungResult
from harness.search.plan import split_pages
from harness.store import write_atomic
from harness.values import ReferencePage

_MOST_PAGES = 12
_SHORTEST_BUDGET_S = 30.0


def phases(
    file: Path,
    /,
    *,
    device: str = "auto",
    budget: Annotated[float, Parameter(converter=seconds)] = 600.0,
    data: Annotated[list[str] | None, Parameter(negative="")] = None,
    profile: str | None = None,
    out: Path | None = None,
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
        Time for all rungs together.
    data
        Data set or path; may be given several times. At most 12 pages are read, a fair sample.
    profile
        Normalisation profile instead of the data set's own.
    out
        Run folder for phases.json and report.html. Default: runs/DATE-NAME.
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
    folder = _folder(out or Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{ladder.ladder}")
    pages, references = _sample(loaded, seed)
    result = LadderResult(
        ladder=ladder.ladder,
        about=ladder.about,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=describe(machine),
        versions=versions(["ocr-tune", "onnxruntime", "openvino", "torch"]),
        data=tuple(summary.name for summary in loaded.summaries),
        pages=len(pages),
        budget_s=budget,
        spent_s=0.0,
        rungs=(),
        rungs_in_ladder=len(ladder.rungs),
    )
    bench = Bench(pages, references, folder / "work", machine, seed)
    began_s = time.perf_counter()
    try:
        with console.status("climbing"):
            for rung in Climb(ladder, bench, where, budget).run():
                spent_s = time.perf_counter() - began_s
                result = replace(result, rungs=(*result.rungs, rung), spent_s=spent_s)
                store.save(folder, result)
                console.print(line(rung), soft_wrap=True)
    except KeyboardInterrupt:
        if not result.rungs:
            raise
        console.print("[yellow]interrupted[/]: what was measured is kept")
    _finish(result, folder)
    if json:
        print_json(document(result))
    console.print(f"report  {folder / 'report.html'}", soft_wrap=True, markup=False)
    return 0


def _finish(result: LadderResult, folder: Path) -> None:
    from reports import render_phases

    store.save(folder, result)
    write_atomic(folder / "report.html", render_phases([result]))


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {path}: {error.strerror}; choose another folder with --out"
        ) from error
    if (path / store.FILE).exists() or (path / "study.json").exists():
        raise UserError(f"{path} already holds a run; choose another --out")
    return path


def _sample(loaded: LoadedData, seed: int) -> tuple[tuple[PageRef, ...], tuple[ReferencePage, ...]]:
    split = split_pages(loaded.references, seed)
    both = split.search if split.overlap else (*split.search, *split.confirm)
    chosen = both[:_MOST_PAGES]
    return tuple(loaded.pages[i] for i in chosen), tuple(loaded.references[i] for i in chosen)


def line(rung: RungResult) -> str:
    """A rung on a terminal, with markup."""
    head = f"[bold]{escape(rung.id):<26}[/] {rung.verdict.value:<20}"
    claim = f"claimed {rung.claim}" if rung.claim else "nothing claimed"
    if rung.gain is None or rung.total is None:
        return f"{head} [dim]{escape(rung.reason)}[/]"
    gain, cer = rung.gain.speedup, rung.gain.cer_increase
    interval = f" ({gain.low:.2f} to {gain.high:.2f})" if math.isfinite(gain.high) else ""
    accuracy = "" if math.isnan(cer.value) else f", CER {100 * cer.value:+.2f} points"
    engine = rung.variant.engine if rung.variant else ""
    return (
        f"{head} {gain.value:.2f}x{interval}, {rung.total.speedup.value:.2f}x of the baseline{accuracy}"
        f" on {engine} [dim]{escape(claim)}[/]"
    )


def document(result: LadderResult) -> dict[str, Any]:
    """The document that `--json` prints: the results with null for what does not exist."""
    finite = _finite(asdict(result))
    if not isinstance(finite, dict):
        raise AssertionError("a dataclass becomes a dictionary")
    return finite


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
