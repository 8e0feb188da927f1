"""The main job, from the user's request to best.yaml and report.html."""

import math
import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from engines.interface import Machine
from harness import objectives
from harness.acting import Traits, idle_knobs, searched
from harness.cli.common import LoadedData, changed, load_data, print_json, stderr, thumbnail
from harness.cli.tune import Request
from harness.config import to_yaml
from harness.energy import EnergyMeter
from harness.environments import recorded
from harness.errors import UserError
from harness.experiments import read_experiment
from harness.hardware_rule import available_memory_gib, rule_for, suggestion
from harness.machine import cautions, detect, fingerprint, resolve_device
from harness.outcome import comparison_of_best, tuned_config, unproven
from harness.search import memory
from harness.search.gate import Judgement
from harness.search.shared import join
from harness.search.tuner import Task, Tuner
from harness.space import Space, load_engine
from harness.store import RunFolder, write_atomic
from harness.values import Comparison, Constraints, Failure, Study, Variant

_SHORTEST_BUDGET_S = 30.0
_SUGGESTIONS = 2
"""Trials that are spent on what was best elsewhere, for each source."""


def run(request: Request) -> int:
    """Tune, write the run folder, say what was found. Returns the exit status. Raises UserError."""
    began = time.perf_counter()
    console = stderr()
    _check(request)
    machine = detect()
    device = resolve_device(request.device, machine)
    _check_objective(request, device, machine)
    space = Space.of(request.engine, device, machine)
    experiment = read_experiment(request.engine, device, machine).for_knobs(space.by_name)
    guess = suggestion(rule_for(machine, available_memory_gib()), space.by_name)
    loaded = load_data(request.data, request.profile, console)
    traits = Traits.of(loaded.pages)
    experiment = searched(experiment, space, traits)
    for name, reason in idle_knobs(space, traits).items():
        if name in (experiment.search or {}):
            console.print(f"[dim]{name} is not searched: {reason}", soft_wrap=True)
    folder = _folder(request)
    header = _header(request, device, machine, loaded, time.perf_counter() - began)
    earlier = folder.study() if request.resume and folder.study_json.exists() else None
    if earlier:
        _refuse_other(earlier, header)
        folder.study_db.unlink(missing_ok=True)  # rebuilt from the trials, which are the truth
        header = replace(
            header,
            id=earlier.id,
            created=earlier.created,
            seed=earlier.seed,
            spent_s=earlier.spent_s + header.spent_s,
            comparisons=earlier.comparisons,
            best=earlier.best,
        )
    shared = join(request.storage, header) if request.storage else None
    own, others = memory.starts(
        memory.earlier_runs(folder.root.parent, folder.root), header, space, suggestions=_SUGGESTIONS
    )
    others += shared.suggestions(space, _SUGGESTIONS) if shared else []
    # What was best here before comes first, then the guess from the hardware alone: each costs one trial, and what is
    # searched must beat it.
    # A start may name what this machine lacks, such as weights or a build of a runtime.
    starts = [start for start in (*own, guess, *others, *experiment.start) if space.admits(start)]
    experiment = experiment.model_copy(update={"start": starts})
    task = Task(header, loaded.pages, space, experiment, shared)
    with Display(console, request.budget_s, header.spent_s, space.variant({})) as display:
        tuner = Tuner(task, folder, machine, display)
        study = tuner.run(earlier.trials if earlier else ())
    write_outcome(study, folder)
    if request.json:
        config = tuned_config(study)
        print_json({"run": str(folder.root), "config": config.model_dump(mode="json") if config else None})
    _say(console, study, folder)
    return 0 if study.best else 1


def _check(request: Request) -> None:
    if request.budget_s < _SHORTEST_BUDGET_S:
        raise UserError(
            f"a budget of {request.budget_s:g} s is too short to measure the baseline; give at least 30s"
        )
    if request.max_cer_increase < 0:
        raise UserError("--max-cer-increase is a share, such as 0.002 for 0.2 points; it cannot be negative")
    if request.resume and request.out is None:
        raise UserError("--resume needs the run folder to go on with: give it with --out")


def _check_objective(request: Request, device: str, machine: Machine) -> None:
    objectives.objective(request.objective, rate=request.rate, price_per_hour=request.price_per_hour)
    if request.objective == "energy" and (reason := EnergyMeter(device, machine).absence):
        raise UserError(f"energy cannot be measured on {device} here: {reason}; choose another --objective")


def _folder(request: Request) -> RunFolder:
    folder = RunFolder.create(
        request.out or Path("runs") / f"{datetime.now():%Y%m%d-%H%M%S}-{request.engine}"
    )
    if folder.study_json.exists() and not request.resume:
        raise UserError(f"{folder.root} already holds a run; add --resume or choose another --out")
    return folder


def _header(request: Request, device: str, machine: Machine, loaded: LoadedData, spent_s: float) -> Study:
    facts = recorded(load_engine(request.engine, machine))
    return Study(
        id=secrets.token_hex(6),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        engine=request.engine,
        device=device,
        objective=request.objective,
        budget_s=request.budget_s,
        spent_s=spent_s,
        seed=request.seed,
        constraints=Constraints(
            max_cer_increase=request.max_cer_increase,
            max_p95_ms=request.max_p95_ms,
            max_memory_mib=request.max_memory_mib,
            max_p99_ms=request.max_p99_ms,
            max_gpu_memory_mib=request.max_gpu_memory_mib,
        ),
        machine=machine,
        fingerprint=fingerprint(machine, facts),
        versions=facts,
        data=loaded.summaries,
        references=loaded.references,
        trials=(),
        comparisons=(),
        best=None,
        cautions=tuple(caution.sentence for caution in cautions(machine)),
        rate=request.rate,
        price_per_hour=request.price_per_hour,
    )


def write_outcome(study: Study, folder: RunFolder) -> None:
    """Write study.json, best.yaml, trials.csv and report.html."""
    from reports import render, trials_csv

    folder.save_study(study)
    config = tuned_config(study)
    if config is None:
        folder.best_yaml.unlink(missing_ok=True)
    else:
        write_atomic(folder.best_yaml, to_yaml(config))
    write_atomic(folder.trials_csv, trials_csv(study))
    page = folder.report_html
    profiles = [folder.profile_seen_from(page)]
    write_atomic(page, render([study], run_dirs=[folder.root], thumbnail=thumbnail, profiles=profiles))


def _refuse_other(earlier: Study, now: Study) -> None:
    """A run goes on only where it began and on what it began."""
    if earlier.fingerprint != now.fingerprint:
        raise UserError(
            "this run was begun on another machine or with other package versions; start a new one with --out"
        )
    if (earlier.engine, earlier.device) != (now.engine, now.device):
        raise UserError(
            f"this run tunes {earlier.engine} on {earlier.device}; give the same --engine and --device"
        )
    if (earlier.objective, earlier.rate, earlier.price_per_hour) != (
        now.objective,
        now.rate,
        now.price_per_hour,
    ):
        raise UserError(
            f"this run was begun for {objectives.described(earlier)}; give the same --objective or start a new run"
        )
    if [data.sha256 for data in earlier.data] != [data.sha256 for data in now.data]:
        raise UserError(
            "this run was begun on other pages; give the same --data, unchanged, or start a new run"
        )


class Display:
    """The search on a terminal: budget left, best so far, what is being tried."""

    def __init__(self, console: Console, budget_s: float, spent_s: float, baseline: Variant) -> None:
        self._console = console
        self._baseline = baseline
        self._trying = ""
        self._progress = Progress(
            TextColumn("{task.fields[phase]:<8}"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(compact=True),
            TextColumn("best {task.fields[best]}"),
            TextColumn("[dim]{task.fields[trying]}"),
            console=console,
            transient=True,
        )
        self._bar = self._progress.add_task(
            "", total=budget_s, completed=int(spent_s), phase="start", best="-", trying=""
        )
        self._began = time.perf_counter() - spent_s

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def phase(self, name: str) -> None:
        """A phase begins."""
        titles = {
            "baseline": "measuring the engine as shipped",
            "search": "searching",
            "confirm": "proving the finalists side by side with the baseline, on unseen pages",
        }
        self._console.print(f"[bold]{titles[name]}")
        self._update(phase=name)

    def trial(self, number: int, variant: Variant, origin: str) -> None:
        """A trial begins."""
        self._trying = changed(variant, self._baseline)
        self._update(trying=f"#{number} {self._trying}"[:80])

    def judged(self, judgement: Judgement, incumbent: Judgement | None) -> None:
        """A trial has ended: one line that stays."""
        trial = judgement.trial
        if isinstance(trial.outcome, Failure):
            outcome = f"[red]{trial.outcome.kind}[/]: {trial.outcome.message}"[:100]
        else:
            increase = judgement.cer_increase
            cer = f", CER {100 * increase.value:+.2f} points" if increase else ""
            mark = "[green]" if judgement.feasible else "[yellow]" if judgement.likely else "[dim]"
            outcome = f"{mark}{math.exp(judgement.log_speedup):.2f}x{cer}[/]"
            outcome += f" ({trial.note})" if trial.note else ""
        self._console.print(f"#{trial.number:<3} {outcome}  [dim]{self._trying}", soft_wrap=True)
        best = f"{math.exp(incumbent.log_speedup):.2f}x (#{incumbent.trial.number})" if incumbent else "-"
        self._update(best=best)

    def round(self, number: int, rounds: int) -> None:
        """A round of the confirmation begins."""
        self._update(trying=f"round {number} of {rounds}")

    def _update(self, **fields: Any) -> None:
        self._progress.update(self._bar, completed=time.perf_counter() - self._began, **fields)


def _say(console: Console, study: Study, folder: RunFolder) -> None:
    for caution in study.cautions:
        console.print(f"[yellow]caution[/] {caution}", soft_wrap=True)
    proof = comparison_of_best(study)
    compared = f"{study.engine} as shipped"
    if study.baseline and (failure := study.shipped_failure):
        reason = escape(" ".join(failure.message.split()))
        console.print(
            f"[bold]{study.engine} as shipped fails here[/] ({failure.kind}: {reason})", soft_wrap=True
        )
        compared = f"the start that works in its place (#{study.baseline.number})"
    if study.best is None:
        console.print(
            "[bold red]Nothing met the constraints[/]: no variant was proven faster at that accuracy."
        )
        if close := unproven(study):
            console.print(_more_pages(close, study, folder), soft_wrap=True)
    elif proof is None and study.baseline and study.best == study.baseline.variant:
        console.print("[bold green]Settings that work[/]; none was proven faster at that accuracy:")
    elif proof is None:
        console.print("[bold yellow]Best so far[/], not yet confirmed on unseen pages:")
    else:
        console.print(
            f"[bold green]{proof.speedup.value:.2f} times {objectives.of(study).faster}[/] than {compared} "
            f"(95 % interval {proof.speedup.low:.2f} to {proof.speedup.high:.2f}), CER "
            f"{100 * proof.cer_a.value:.2f} % before and {100 * proof.cer_b.value:.2f} % after, on {proof.pages} "
            f"pages that the search never saw."
        )
    if study.best:
        shipped = study.shipped
        console.print(f"  {changed(study.best, shipped.variant if shipped else study.best)}", soft_wrap=True)
        console.print(f"config  {folder.best_yaml}", soft_wrap=True)
    console.print(f"report  {folder.report_html}", soft_wrap=True)


def _more_pages(close: Comparison, study: Study, folder: RunFolder) -> str:
    speedup, increase, faster = close.speedup, close.cer_increase, objectives.of(study).faster
    longer_min = math.ceil(2 * study.budget_s / 60)
    return (
        f"The closest was {speedup.value:.2f} times {faster} (95 % interval {speedup.low:.2f} to "
        f"{speedup.high:.2f}), CER {100 * increase.value:+.2f} points ({100 * increase.low:+.2f} to "
        f"{100 * increase.high:+.2f}, at most {100 * study.constraints.max_cer_increase:+.2f} is allowed), on "
        f"{close.pages} unseen pages. More pages may prove it: the same command with "
        f"--out {folder.root} --resume --budget {longer_min}m"
    )
