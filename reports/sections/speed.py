"""Pictures of speed: against accuracy, by stage, over the seconds of a trial and of the budget."""

from collections.abc import Sequence
from itertools import accumulate
from statistics import fmean

from harness.bottleneck import bottleneck
from harness.figures import undominated
from reports import charts
from reports.blocks import Block, Chart, Folded, Mark, Prose, Row, Table, long, num, text
from reports.sections.phrases import changed
from reports.view import Run, Trial
from reports.words import DASH, clean, count, duration, factor, number, percent, points

_DRAWN_COUNTERS = ("cpu_pct", "rss_mib", "gpu0_util_pct", "gpu0_mem_mib", "gpu0_power_w", "read_mib_per_s")


def pareto(run: Run) -> Sequence[Block]:
    """Throughput against error of all measured trials, and the front as a table."""
    shown = [trial for trial in run.measured if trial.cer is not None]
    if not shown:
        return []
    measured = ((t.number, t.pages_per_second, t.cer) for t in shown if not t.partial)
    front = undominated((number, rate, cer) for number, rate, cer in measured if rate and cer is not None)
    points_shown = [
        charts.Point(
            trial.pages_per_second or 0.0, trial.cer or 0.0, _kind(run, trial), trial.number in front
        )
        for trial in shown
    ]
    says = (
        f"Throughput against {run.error_name} of {count(len(shown), 'measured trial')}. "
        f"{count(len(front), 'trial')} on the Pareto front: no other is both faster and more accurate."
    )
    svg = charts.pareto(points_shown, run.error_name, f"{run.key}-pareto", says)
    by_number = {trial.number: trial for trial in shown}
    columns = (
        *(text("Trial"), text("Role"), num("Pages/s"), num("Against baseline"), num(run.error_name)),
        *(num("Change, points"), long("Settings that differ from the defaults")),
    )
    front_rows = sorted(front, key=lambda n: -(by_number[n].pages_per_second or 0))
    others = [
        trial
        for trial in sorted(shown, key=lambda t: -(t.pages_per_second or 0))
        if trial.number not in front
    ]
    blocks: list[Block] = [
        Chart(svg, says),
        Table(
            "The Pareto front, fastest first", columns, [_front_row(run, by_number[n]) for n in front_rows]
        ),
    ]
    if others:
        rest = Table(
            "Trials that another beats, fastest first", columns, [_front_row(run, trial) for trial in others]
        )
        blocks.append(Folded(f"The other {count(len(others), 'point')} of the picture", [rest]))
    return blocks


def stages(run: Run) -> Sequence[Block]:
    """Milliseconds of work per page and stage, baseline against best."""
    sides = {side: trial.stage_ms for side, trial in run.sides.items() if trial.stage_ms}
    if not sides:
        return []
    names = list(dict.fromkeys(stage for times in sides.values() for stage in times))
    table = {
        stage: {side: times[stage] for side, times in sides.items() if stage in times} for stage in names
    }
    totals = {side: sum(times.values()) for side, times in sides.items()}
    spent = " and ".join(f"{number(total)} ms ({side})" for side, total in totals.items())
    longest = max(names, key=lambda stage: max(table[stage].values()))
    says = f"Work per page by stage: {spent} in all. {clean(longest).capitalize()} takes longest."
    rows = [
        _stage_row(stage, list(sides), times) for stage, times in (table | {"all stages": totals}).items()
    ]
    columns = [text("Stage"), *(num(f"{side}, ms") for side in sides)]
    if len(sides) == 2:
        columns.append(num("Times faster"))
    return [
        Chart(
            charts.stage_bars(table, f"{run.key}-stages", says),
            f"{says} Stages may run side by side on several cores.",
        ),
        Folded("The stage times as a table", [Table("Milliseconds of work per page", columns, rows)]),
        *_facts(run),
    ]


def _facts(run: Run) -> Sequence[Block]:
    """What the engines counted, the most of any replica: until warm, and while pages were measured."""
    rows = [
        Row((side, clean(name).replace("_", " "), number(max(fact.cold)), number(max(fact.steady))))
        for side, trial in run.sides.items()
        if trial.measurement
        for name, fact in trial.measurement.facts.items()
    ]
    if not rows:
        return []
    columns = [text("Variant"), text("Counted"), num("Until warm"), num("While measured")]
    return [Table("What the engine counted, the most of any replica", columns, rows)]


def counters(run: Run) -> Sequence[Block]:
    """What the machine did during baseline and best, and what bounds each."""
    blocks: list[Block] = [
        Prose(_bottleneck(run, side, trial)) for side, trial in run.watched.items() if trial.stage_ms
    ]
    measured = [trial.measurement for trial in run.watched.values() if trial.measurement]
    names = sorted({name for m in measured for sample in m.samples for name in sample.values})
    if names:
        drawn = [name for name in _DRAWN_COUNTERS if name in names] or names[: len(_DRAWN_COUNTERS)]
        blocks.append(_counter_chart(run, drawn))
        of = [(side, what) for side in run.watched for what in ("mean", "peak")]
        columns = [text("Counter"), *(num(f"{side}, {what}") for side, what in of)]
        table = Table("Mean and peak of each counter", columns, [_counter_row(run, name) for name in names])
        blocks.append(Folded(f"All {count(len(names), 'counter')} as a table", [table]))
    absent = {name: why for m in measured for name, why in m.absent.items()}
    if absent:
        rows = [Row((name, why)) for name, why in sorted(absent.items())]
        table = Table("Counters that could not be read", (text("Counter"), long("Why")), rows)
        blocks.append(Folded(f"{count(len(absent), 'counter')} could not be read here", [table]))
    return blocks


def history(run: Run) -> Sequence[Block]:
    """The search over its budget: every trial, failures marked, and the best so far."""
    trials = sorted(run.searched, key=_ended_s)
    if not trials:
        return []
    events = [charts.Event(_ended_s(trial), trial.pages_per_second, trial.partial) for trial in trials]
    candidates = [trial for trial in trials if trial.pages_per_second and run.admissible(trial)]
    climb = accumulate((trial.pages_per_second or 0.0 for trial in candidates), max)
    best = [charts.Event(_ended_s(trial), speed) for trial, speed in zip(candidates, climb, strict=True)]
    failed = sum(trial.failure is not None for trial in trials)
    says = f"{count(len(trials), 'trial')} in {duration(_ended_s(trials[-1]))}, {failed} failed."
    first = next((event for event in best if event.pages_per_second == best[-1].pages_per_second), None)
    if first:
        speed = number(first.pages_per_second)
        says += f" The fastest admissible one came after {duration(first.at_s)}: {speed} pages/s."
    baseline = run.baseline.pages_per_second if run.baseline else None
    svg = charts.history(events, best, baseline, f"{run.key}-history", says)
    return [
        Chart(svg, f"{says} The line counts trials that read all pages and met the constraints as measured.")
    ]


def _kind(run: Run, trial: Trial) -> charts.PointKind:
    if trial is run.baseline:
        return "baseline"
    if trial is run.best:
        return "best"
    if any(trial.variant in (comparison.a, comparison.b) for comparison in run.study.comparisons):
        return "confirmed"
    return "partial" if trial.partial else "trial"


def _front_row(run: Run, trial: Trial) -> Row:
    base = run.baseline.pages_per_second if run.baseline else None
    speed = trial.pages_per_second
    kind = _kind(run, trial)
    role = {"trial": "", "partial": "dropped early", "confirmed": "finalist"}.get(kind, kind)
    cells = (
        *(str(trial.number), role, number(speed), factor(speed / base if speed and base else None)),
        *(percent(trial.cer), points(run.cer_increase(trial)), changed(run, trial.variant)),
    )
    marks: dict[charts.PointKind, Mark] = {"baseline": "baseline", "best": "best"}
    return Row(cells, marks.get(kind, ""))


def _stage_row(stage: str, sides: Sequence[str], times: dict[str, float]) -> Row:
    shown = [number(times.get(side)) for side in sides]
    before, after = times.get("baseline"), times.get("best")
    return Row(
        (stage, *shown, *([factor(before / after if before and after else None)] if len(sides) == 2 else []))
    )


def _counter_chart(run: Run, names: Sequence[str]) -> Chart:
    panels = {
        name: {
            side: charts.Series(*zip(*found, strict=True))
            for side, trial in run.watched.items()
            if (found := trial.counter(name))
        }
        for name in names
    }
    what = ", ".join(map(clean, names))
    says = f"Counters of {' and '.join(run.watched)} over the seconds of a trial: {what}."
    return Chart(charts.counters(panels, f"{run.key}-counters", says), says)


def _counter_row(run: Run, name: str) -> Row:
    cells = [name]
    for trial in run.watched.values():
        values = [found for _, found in trial.counter(name)]
        cells += [number(fmean(values)), number(max(values))] if values else [DASH, DASH]
    return Row(cells)


def _ended_s(trial: Trial) -> float:
    return trial.result.started_s + trial.result.wall_s


def _bottleneck(run: Run, side: str, trial: Trial) -> str:
    measurement = trial.measurement
    if measurement is None:
        return ""
    stage_s = {stage: ms * len(measurement.pages) / 1000 for stage, ms in trial.stage_ms.items()}
    found = bottleneck(
        stage_s, measurement.samples, run.study.machine, measurement.wall_s, trial.variant.settings
    )
    return f"{side.capitalize()}: {found.sentence}"
