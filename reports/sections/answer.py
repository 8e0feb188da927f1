"""The answer: what to use, how much faster it is, what it costs, and how sure that is."""

import math
import shlex
from collections.abc import Sequence

from engines.interface import Machine, Setting
from harness.values import Comparison, Interval, Variant, Verdict
from reports.blocks import (
    Answer,
    Block,
    Code,
    Figure,
    Folded,
    Notices,
    Panel,
    Prose,
    Row,
    Table,
    long,
    num,
    text,
)
from reports.view import Run
from reports.words import (
    DASH,
    MINUS,
    NO_BREAK,
    count,
    duration,
    factor,
    number,
    percent,
    percent_range,
    points,
    points_range,
)


def answer(run: Run) -> Sequence[Block]:
    """The headline, its sentence, and the figures that it rests on."""
    return [_verdict(run)]


def settings(run: Run) -> Sequence[Block]:
    """Settings that differ from the baseline, and commands that use them."""
    study = run.study
    if study.best is None:
        return []
    blocks: list[Block] = []
    changes = run.changes(study.best)
    if changes:
        rows = [Row((name, value(before), value(after))) for name, (before, after) in changes.items()]
        columns = (text("Setting"), text("Baseline"), text("Best"))
        blocks.append(Table("Settings that differ from the engine as its authors ship it", columns, rows))
    else:
        blocks.append(Prose("The chosen settings are those of the engine as its authors ship it."))
    config = shlex.quote(run.config)
    commands = (
        f"tune bench --config {config}",
        f"tune compare {shlex.quote(study.engine)} {config}",
        f"tune export {config} --to env",
    )
    blocks.append(Code("Measure it, prove it again, use it", "\n".join(commands)))
    return blocks


def confirmation(run: Run) -> Sequence[Block]:
    """Every finalist against the baseline, interleaved over fresh processes."""
    if not run.study.comparisons:
        return []
    columns = (
        *(text("Finalist"), num("Speed-up"), num("95 % interval"), text("Verdict"), num(run.error_name)),
        *(num("Change, points"), num("95 % interval"), num("Pages"), num("Rounds")),
    )
    named = [(f"finalist {position}", c) for position, c in enumerate(run.study.comparisons, start=1)]
    caption = "Finalists against the baseline on the same pages, in interleaved rounds of fresh processes"
    blocks: list[Block] = [Table(caption, columns, [_finalist_row(run, name, c) for name, c in named])]
    failed = [f"{name}: {c.failure}" for name, c in named if c.failure]
    if failed:
        blocks.append(Notices(failed))
    settings_of = [Row((name, changed(run, c.b))) for name, c in named]
    table = Table("Settings that differ from the baseline", (text("Finalist"), long("Settings")), settings_of)
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


def value(setting: Setting | None) -> str:
    """A setting as a configuration file would show it; a dash where it does not apply."""
    if setting is None:
        return DASH
    return str(setting).lower() if isinstance(setting, bool) else str(setting)


def changed(run: Run, variant: Variant) -> str:
    """The settings in which `variant` differs from the baseline, in a line."""
    return ", ".join(f"{name}={value(after)}" for name, (_, after) in run.changes(variant).items()) or DASH


def machine_line(machine: Machine) -> str:
    """The machine in a few words."""
    gpus = [gpu.name for gpu in machine.gpus]
    parts = [
        machine.cpu_model,
        count(machine.cores, "core"),
        f"{number(machine.memory_mib / 1024, 2)} GiB",
        *gpus,
    ]
    return ", ".join(part for part in parts if part)


def _verdict(run: Run) -> Answer:
    study, comparison = run.study, run.comparison
    if not run.measured:
        return _nothing_measured(run)
    if study.best is None:
        return _nothing_chosen(run)
    if study.baseline and study.best == study.baseline.variant:
        line = f"Keep the defaults of {study.engine}"
        sentence = f"None of the {count(len(run.trials), 'trial')} was shown to be faster. {_bounds(run)}"
        return Answer("neutral", line, sentence, _figures(run))
    if comparison is None or comparison.failure or not math.isfinite(comparison.speedup.value):
        return _unconfirmed(run)
    return _confirmed(run, comparison)


def _nothing_measured(run: Run) -> Answer:
    failed = sum(trial.failure is not None for trial in run.trials)
    if failed:
        sentence = (
            f"{'All ' if failed > 1 else ''}{count(failed, 'trial')} failed; the table of failures says why."
        )
    else:
        sentence = (
            f"The run ended after {duration(run.study.spent_s)}, before a trial did. Give it a larger budget."
        )
    return Answer("bad", "Nothing could be measured", sentence, _figures(run))


def _nothing_chosen(run: Run) -> Answer:
    keep = f"Keep the defaults of {run.study.engine}."
    if run.study.comparisons:
        finalists = count(len(run.study.comparisons), "finalist")
        sentence = f"Of {finalists}, none was surely faster within the bounds: {_bounds(run)} {keep}"
        return Answer("neutral", "Nothing beat the defaults for certain", sentence, _figures(run))
    return Answer(
        "bad", "Nothing met the constraints", f"No winner was confirmed. {_bounds(run)} {keep}", _figures(run)
    )


def _unconfirmed(run: Run) -> Answer:
    comparison = run.comparison
    if comparison and comparison.failure:
        why = f"The confirmation failed: {comparison.failure.rstrip('.')}."
    else:
        why = "The run ended before the confirmation on pages that the search had not seen."
    ratio = _measured_ratio(run)
    line = f"About {factor(ratio)} the speed, not confirmed" if ratio else "Settings found, not confirmed"
    return Answer("neutral", line, f"{why} The figures below are those of the search.", _figures(run))


def _confirmed(run: Run, comparison: Comparison) -> Answer:
    speedup = comparison.speedup
    cost = _cost_words(run, comparison.cer_increase)
    proof = (
        f"{_ratio_interval(speedup)} over {count(len(comparison.log_ratios), 'paired round')} "
        f"on {comparison.pages:,} {run.pages_named}."
    )
    use = f"Use the settings below for {run.study.engine} on {run.study.device}."
    match comparison.verdict:
        case Verdict.FASTER:
            return Answer("good", f"{factor(speedup.value)} as fast{cost}", f"{use} {proof}", _figures(run))
        case Verdict.SLOWER:
            return Answer(
                "bad",
                f"Slower: {factor(speedup.value)} the speed",
                f"Keep the defaults. {proof}",
                _figures(run),
            )
        case Verdict.SAME:
            return Answer(
                "neutral", "As fast as the defaults", f"There is nothing to gain. {proof}", _figures(run)
            )
        case Verdict.INCONCLUSIVE:
            line = f"Perhaps {factor(speedup.value)} the speed, not certain"
            return Answer("neutral", line, f"More rounds would settle it. {proof}", _figures(run))


def _cost_words(run: Run, increase: Interval) -> str:
    if not math.isfinite(increase.value):
        return ""
    if increase.high < 0:
        return ", with fewer errors"
    if increase.low > 0:
        return f", {points(increase.value)} points of {run.error_name}"
    return f", no clear change of {run.error_name}"


def _figures(run: Run) -> list[Figure]:
    study = run.study
    figures = [*_speed_figures(run), *_error_figures(run), *_cost_figures(run)]
    spent = f"of a budget of {duration(study.budget_s)}, {count(len(run.trials), 'trial')}"
    figures.append(Figure("Time spent", duration(study.spent_s), spent))
    figures.append(Figure("Machine", study.device, machine_line(study.machine)))
    if study.cautions:
        figures.append(Figure("Before you rely on it", count(len(study.cautions), "caution"), "see below"))
    return figures


def _speed_figures(run: Run) -> list[Figure]:
    if not run.sides:
        return []
    speeds = [number(trial.pages_per_second) for trial in run.sides.values()]
    return [Figure("Throughput", _arrow(speeds), f"pages per second, {_side_names(run)}")]


def _error_figures(run: Run) -> list[Figure]:
    comparison, name = run.comparison, run.error_name
    if comparison is None or not math.isfinite(comparison.cer_increase.value):
        rates = [percent(trial.cer) for trial in run.sides.values() if trial.cer is not None]
        return [Figure(name, _arrow(rates), f"{_side_names(run)}, {run.pages_named}")] if rates else []
    rate_note = f"{percent_range(comparison.cer_a)} {_ARROW} {percent_range(comparison.cer_b)}"
    allowed = points(run.study.constraints.max_cer_increase)
    rates = [percent(comparison.cer_a.value), percent(comparison.cer_b.value)]
    return [
        Figure(name, _arrow(rates), f"95 % intervals {rate_note}"),
        Figure(
            f"Change of {name}",
            f"{points(comparison.cer_increase.value)} points",
            f"95 % interval {points_range(comparison.cer_increase)}; allowed {allowed}",
        ),
    ]


def _cost_figures(run: Run) -> list[Figure]:
    if not run.sides:
        return []
    latency = [number(trial.latency_ms(50)) for trial in run.sides.values()]
    figures = [Figure("Median time of a page", _arrow(latency), "milliseconds from submission to text")]
    memory = [number(trial.rss_peak_mib) for trial in run.watched.values() if trial.rss_peak_mib is not None]
    if memory:
        figures.append(Figure("Peak memory", _arrow(memory), "MiB, in the search"))
    starts = [number(t.measurement.cold_start_s) for t in run.sides.values() if t.measurement]
    if starts:
        figures.append(Figure("Cold start", _arrow(starts), "seconds to the first page"))
    return figures


_ARROW = "\N{RIGHTWARDS ARROW}"


def _arrow(values: Sequence[str]) -> str:
    return f" {_ARROW} ".join(values)


def _side_names(run: Run) -> str:
    return _arrow(list(run.sides))


def _ratio_range(interval: Interval) -> str:
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return DASH
    return f"{factor(interval.low)} to {factor(interval.high)}"


def _ratio_interval(interval: Interval) -> str:
    found = _ratio_range(interval)
    return "Too few rounds for an interval" if found == DASH else f"95{NO_BREAK}% interval {found}"


def _measured_ratio(run: Run) -> float | None:
    speeds = [trial.pages_per_second for trial in run.sides.values()]
    match speeds:
        case [float() as before, float() as after]:
            return after / before
        case _:
            return None


def _bounds(run: Run) -> str:
    """The constraints as a sentence."""
    bounds = run.study.constraints
    parts = [
        f"{run.error_name} may rise by at most {points(bounds.max_cer_increase).lstrip('+' + MINUS)} points"
    ]
    if bounds.max_p95_ms is not None:
        parts.append(f"95 % of the pages must be read within {number(bounds.max_p95_ms)} ms")
    if bounds.max_memory_mib is not None:
        parts.append(f"memory must stay below {number(bounds.max_memory_mib)} MiB")
    return ", ".join(parts) + "."


def _finalist_row(run: Run, name: str, c: Comparison) -> Row:
    cells = (
        *(name, factor(c.speedup.value), _ratio_range(c.speedup), c.verdict.value),
        *(_arrow([percent(c.cer_a.value), percent(c.cer_b.value)]), points(c.cer_increase.value)),
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
            _ratio_range(comparison.speedup) if comparison else DASH,
            *map(percent, errors),
            machine_line(run.study.machine),
        )
    )
