"""What to set, how the finalists were proven, and several runs beside each other."""

import math
import shlex
from collections.abc import Sequence

from harness.bounds import harmed_sets
from harness.values import Comparison
from reports.blocks import Block, Code, Folded, Notices, Panel, Prose, Row, Table, long, num, text
from reports.sections.phrases import arrow, changed, machine_line, ratio_range, value
from reports.view import Run
from reports.words import DASH, factor, number, percent, points, points_range


def settings(run: Run) -> Sequence[Block]:
    """Settings that differ from the defaults, and commands that use them."""
    study = run.study
    if study.best is None:
        return []
    blocks: list[Block] = []
    changes = run.changes(study.best)
    if changes:
        rows = [Row((name, value(before), value(after))) for name, (before, after) in changes.items()]
        columns = (text("Setting"), text("Default"), text("Best"))
        blocks.append(Table("Settings that differ from the engine as its authors ship it", columns, rows))
    else:
        blocks.append(Prose("The chosen settings are those of the engine as its authors ship it."))
    config = shlex.quote(run.config)
    data = "".join(f" --data {shlex.quote(summary.name)}" for summary in study.data)
    commands = (
        f"tune bench --config {config}{data}",
        f"tune compare {shlex.quote(_baseline(run))} {config}{data}",
        f"tune export {config} --to env",
    )
    blocks.append(
        Code(
            "Measure it, prove it again, use it; data sets of your own by their folders", "\n".join(commands)
        )
    )
    return blocks


def _baseline(run: Run) -> str:
    """The baseline as a command line names it: the engine as shipped, or what stands in for it."""
    study = run.study
    if not (study.shipped_failure and study.baseline):
        return study.engine
    changes = run.changes(study.baseline.variant)
    return f"{study.engine}:{','.join(f'{name}={value(after)}' for name, (_, after) in changes.items())}"


def confirmation(run: Run) -> Sequence[Block]:
    """Every finalist against the baseline, interleaved over fresh processes."""
    if not run.study.comparisons:
        return []
    columns = (
        *(text("Finalist"), num("Speed-up"), num("95 % interval"), text("Verdict"), num(run.error_name)),
        *(num("Change, points"), num("95 % interval"), num("Pages"), num("Rounds")),
    )
    named = [(str(position), c) for position, c in enumerate(run.study.comparisons, start=1)]
    caption = "Finalists against the baseline on the same pages, in interleaved rounds of fresh processes"
    blocks: list[Block] = [Table(caption, columns, [_finalist_row(run, name, c) for name, c in named])]
    refused = [f"Finalist {name}: {c.failure}" for name, c in named if c.failure]
    refused += [
        f"Finalist {name} was refused: it reads {harmed} worse, whatever it gains elsewhere, by "
        f"{points(c.cer_increase_by_set[harmed].value)} points ({points_range(c.cer_increase_by_set[harmed])})."
        for name, c in named
        for harmed in harmed_sets(c.cer_increase_by_set, run.study.constraints.max_cer_increase)
    ]
    if refused:
        blocks.append(Notices(refused))
    settings_of = [Row((name, changed(run, c.b))) for name, c in named]
    table = Table("Settings that differ from the defaults", (text("Finalist"), long("Settings")), settings_of)
    return [*blocks, Folded("What the finalists set", [table])]


def overview(runs: Sequence[Run]) -> Sequence[Panel]:
    """One row a run, for a page of several."""
    if len(runs) < 2:
        return []
    columns = (
        *(text("Run"), text("Engine"), text("Device"), num("Baseline, pages/s"), num("Best, pages/s")),
        *(num("Speed-up"), num("95 % interval"), num("Error baseline"), num("Error best"), text("Machine")),
    )
    blocks: list[Block] = [
        Table("Each run: throughput and error rate", columns, [_run_row(run) for run in runs])
    ]
    if len({run.study.fingerprint for run in runs}) > 1:
        blocks.append(Prose("These runs are of different machines: their pages per second do not compare."))
    if len({tuple(data.sha256 for data in run.study.data) for run in runs}) > 1:
        blocks.append(Prose("These runs read different pages: their error rates do not compare."))
    return [Panel("", blocks)]


def _finalist_row(run: Run, name: str, c: Comparison) -> Row:
    cells = (
        *(name, factor(c.speedup.value), ratio_range(c.speedup), c.verdict.value),
        *(arrow([percent(c.cer_a.value), percent(c.cer_b.value)]), points(c.cer_increase.value)),
        *(points_range(c.cer_increase), f"{c.pages:,}", str(len(c.log_ratios))),
    )
    return Row(cells, "best" if c is run.comparison else "")


def _run_row(run: Run) -> Row:
    def speed(side: str) -> str:
        return number(run.sides[side].pages_per_second if side in run.sides else None)

    comparison = run.comparison
    errors = [run.sides[side].cer if side in run.sides else None for side in ("baseline", "best")]
    if comparison and math.isfinite(comparison.cer_increase.value):
        errors = [comparison.cer_a.value, comparison.cer_b.value]
    return Row(
        (
            *(run.label, run.study.engine, run.study.device, speed("baseline"), speed("best")),
            factor(comparison.speedup.value) if comparison else DASH,
            ratio_range(comparison.speedup) if comparison else DASH,
            *map(percent, errors),
            machine_line(run.study.machine),
        )
    )
