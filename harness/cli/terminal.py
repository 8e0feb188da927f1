"""The main job on a terminal: how it goes, and what came of it."""

import math
import time
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from harness import objectives
from harness.bounds import baseline_misses_bounds
from harness.cli.common import changed
from harness.machine import Caution
from harness.outcome import comparison_of_best, harmful, unproven
from harness.search import plan
from harness.search.gate import Judgement
from harness.store import RunFolder
from harness.values import Comparison, Failure, Study, Variant


class Display:
    """The search on a terminal: budget left, best so far, what is being tried."""

    def __init__(self, console: Console, budget_s: float, spent_s: float, baseline: Variant) -> None:
        self._console = console
        self._baseline = baseline
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
            "devices": "are the devices equally fast while all of them work?",
            "search": "searching",
            "confirm": "proving the finalists side by side with the baseline, on unseen pages",
        }
        self._console.print(f"[bold]{titles[name]}")
        self._update(phase=name)

    def trial(self, number: int, variant: Variant, origin: str) -> None:
        """A trial begins."""
        self._update(trying=escape(f"#{number} {changed(variant, self._baseline)}"[:80]))

    def judged(self, judgement: Judgement, incumbent: Judgement | None) -> None:
        """A trial has ended: one line that stays."""
        trial = judgement.trial
        if isinstance(trial.outcome, Failure):
            outcome = f"[red]{trial.outcome.kind}[/]: {escape(trial.outcome.message[:100])}"
        else:
            increase = judgement.cer_increase
            cer = f", CER {100 * increase.value:+.2f} points" if increase else ""
            worse = {} if judgement.feasible else judgement.cer_by_set
            lost = ", ".join(
                f"{name} {100 * more.value:+.2f}" for name, more in worse.items() if more.value > 0
            )
            cer += f" ({escape(lost)})" if lost else ""
            mark = "[green]" if judgement.feasible else "[yellow]" if judgement.likely else "[dim]"
            trials = f" over {judgement.trials} trials" if judgement.trials > 1 else ""
            outcome = f"{mark}{math.exp(judgement.log_speedup):.2f}x{trials}{cer}[/]"
            outcome += f" ({escape(trial.note)})" if trial.note else ""
        tried = escape(changed(trial.variant, self._baseline))
        self._console.print(f"#{trial.number:<3} {outcome}  [dim]{tried}", soft_wrap=True)
        best = f"{math.exp(incumbent.log_speedup):.2f}x (#{incumbent.trial.number})" if incumbent else "-"
        self._update(best=best)

    def round(self, number: int, rounds: int) -> None:
        """A round of the confirmation begins."""
        self._update(trying=f"round {number} of {rounds}")

    def _update(self, **fields: Any) -> None:
        self._progress.update(self._bar, completed=time.perf_counter() - self._began, **fields)


def say(console: Console, study: Study, folder: RunFolder) -> None:
    """What was found, how sure it is, and where it lies."""
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
        if Caution.INTERRUPTED.sentence in study.cautions and not study.comparisons:
            console.print("[bold red]Nothing was found before the run was stopped.[/]")
        else:
            console.print(
                "[bold red]Nothing met the constraints[/]: no variant was proven faster at that accuracy."
            )
        if close := unproven(study):
            console.print(_more_pages(close, study, folder), markup=False, soft_wrap=True)
        elif refused := harmful(study):
            console.print(_reads_worse(*refused, study), markup=False, soft_wrap=True)
    elif proof is None and study.baseline and study.best == study.baseline.variant:
        console.print("[bold green]Settings that work[/]; none was proven faster at that accuracy:")
    elif proof is None:
        console.print("[bold yellow]Best so far[/], not yet confirmed on unseen pages:")
    else:
        speedup, objective = proof.speedup.value, objectives.of(study)
        overlap = plan.split_pages(study.references).overlap
        gain = f"[bold green]{speedup:.2f} times {objective.faster}[/] than {compared}"
        if baseline_misses_bounds(study):
            within = f"[bold green]Within the bounds[/], which {compared} misses"
            gain = f"{within}: {speedup:.2f} times {objective.as_fast}"
        console.print(
            f"{gain} (95 % interval {proof.speedup.low:.2f} to {proof.speedup.high:.2f}), CER "
            f"{100 * proof.cer_a.value:.2f} % before and {100 * proof.cer_b.value:.2f} % after, on {proof.pages} "
            f"{'pages of the search' if overlap else 'pages that the search never saw'}."
        )
    if study.best:
        shipped = study.shipped
        changes = changed(study.best, shipped.variant if shipped else study.best)
        console.print(f"  {changes}", markup=False, soft_wrap=True)
        console.print(f"config  {folder.best_yaml}", markup=False, soft_wrap=True)
    console.print(f"report  {folder.report_html}", markup=False, soft_wrap=True)


def _reads_worse(refused: Comparison, name: str, study: Study) -> str:
    speedup, increase = refused.speedup.value, refused.cer_increase_by_set[name]
    return (
        f"The fastest finalist, {speedup:.2f} times {objectives.of(study).faster}, reads {name} worse: CER "
        f"{100 * increase.value:+.2f} points ({100 * increase.low:+.2f} to {100 * increase.high:+.2f}, at most "
        f"{100 * study.constraints.max_cer_increase:+.2f} is allowed). Tune without that set, or allow it with "
        "--max-cer-increase"
    )


def _more_pages(close: Comparison, study: Study, folder: RunFolder) -> str:
    speedup, increase, faster = close.speedup, close.cer_increase, objectives.of(study).faster
    kept = len(plan.split_pages(study.references).confirm)
    longer = (
        f"the same command with --out {folder.root} --resume --budget {math.ceil(2 * study.budget_s / 60)}m"
    )
    more = "these are all that the data has: add others with --data" if close.pages >= kept else longer
    return (
        f"The closest was {speedup.value:.2f} times {faster} (95 % interval {speedup.low:.2f} to "
        f"{speedup.high:.2f}), CER {100 * increase.value:+.2f} points ({100 * increase.low:+.2f} to "
        f"{100 * increase.high:+.2f}, at most {100 * study.constraints.max_cer_increase:+.2f} is allowed), on "
        f"{close.pages} unseen pages. More pages may prove it: {more}"
    )
