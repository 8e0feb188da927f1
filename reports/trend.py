"""The page of many nights, and that of a pytest-benchmark file: the same page kind as a run's report."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Literal

from markupsafe import Markup
from matplotlib.figure import Figure

from harness.check.benchmarks import Benchmark
from harness.check.history import History, Night, change_points
from harness.check.verdicts import Outcome
from reports import svg
from reports.blocks import Answer, Block, Chart, Notices, Panel, Row, Table, long, num, text
from reports.page import page
from reports.sections import Section

_SHOWN = ("throughput", "cer", "characters_per_page", "lines_per_page", "peak_memory", "cold_start")
_TONES: Mapping[Outcome, Literal["good", "neutral", "bad"]] = {
    Outcome.PASS: "good",
    Outcome.REGRESSION: "bad",
    Outcome.INCONCLUSIVE: "neutral",
}
_MAX_ROWS = 400


def render_history(history: History) -> str:
    """The page of a history as HTML text: the last night first, then each metric over time by machine."""
    machines = dict.fromkeys(night.fingerprint for night in history.nights)
    by_machine = [[night for night in history.nights if night.fingerprint == one] for one in machines]
    sections: tuple[tuple[Section, Callable[[Sequence[Night]], Sequence[Block]]], ...] = (
        (Section("answer", "The last night", lambda _: []), _last),
        (
            Section(
                "trend",
                "Trend",
                lambda _: [],
                "Nights differ by what else the machine does: verdicts come from each night's pair alone.",
            ),
            _trends,
        ),
        (Section("nights", "All nights", lambda _: []), _table),
    )
    built = [
        (section, [Panel(nights[-1].machine, build(nights)) for nights in by_machine])
        for section, build in sections
    ]
    if history.unreadable:
        doubt = Notices([f"{history.unreadable} lines of the history were torn or are not of this program."])
        built[0][1].insert(0, Panel("", [doubt]))
    first, last = history.nights[0].at, history.nights[-1].at
    return page("Nightly checks", f"{len(history.nights)} nights, {first} to {last}", built)


def _last(nights: Sequence[Night]) -> Sequence[Block]:
    night = nights[-1]
    worst = [name for name, point in night.metrics.items() if point.outcome is not Outcome.PASS]
    said = f"not passed: {', '.join(worst)}" if worst else "every metric passed"
    return [
        Answer(
            _TONES[night.outcome],
            f"{night.outcome}",
            f"{night.at}, {_commit(night)}, beside {night.against}: {said}.",
        )
    ]


def _trends(nights: Sequence[Night]) -> Sequence[Block]:
    blocks: list[Block] = []
    for name in _SHOWN:
        shown = [night for night in nights if name in night.metrics]
        if len(shown) < 2:
            continue
        values = [night.metrics[name].current for night in shown]
        changes = change_points(values)
        says = f"{name} over {len(shown)} nights: " + (
            "; ".join(_change(shown, values, edges) for edges in _around(changes, len(values)))
            or "no lasting change"
        )
        blocks.append(Chart(_picture(f"{name}-{shown[0].fingerprint}", values, changes, says), f"{says}."))
    return blocks


def _around(changes: Sequence[int], count: int) -> list[tuple[int, int, int]]:
    return list(zip([0, *changes], changes, [*changes[1:], count], strict=False))


def _change(nights: Sequence[Night], values: Sequence[float], edges: tuple[int, int, int]) -> str:
    before, here, after = edges
    levels = median(values[before:here]), median(values[here:after])
    share = f" ({100 * (levels[1] / levels[0] - 1):+.1f} %)" if levels[0] else ""
    changed = sorted(
        f"{package} {old or 'absent'} to {new}"
        for package, new in nights[here].versions.items()
        if (old := nights[here - 1].versions.get(package)) != new
    )
    with_it = f", with {', '.join(changed)}" if changed else ""
    level = f"{levels[0]:.4g} to {levels[1]:.4g}{share}"
    return f"changed from {level} at {nights[here].at}, {_commit(nights[here])}{with_it}"


def _commit(night: Night) -> str:
    return f"commit {night.commit[:12]}" if night.commit else "no commit known"


def _picture(name: str, values: Sequence[float], changes: Sequence[int], says: str) -> Markup:
    with svg.style():
        figure = Figure(figsize=(7.4, 2.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(range(len(values)), values, "o", color=svg.TRIAL, markersize=3.5)
        for start, end in pairwise([0, *changes, len(values)]):
            level = median(values[start:end])
            axes.plot([start - 0.4, end - 0.6], [level, level], color=svg.BEST, linewidth=1.6)
        axes.set_xlabel("nights, oldest first")
        return svg.markup(figure, f"trend-{name}", says)


def _table(nights: Sequence[Night]) -> Sequence[Block]:
    rows = [
        Row(
            [
                night.at,
                night.outcome,
                night.commit[:12] if night.commit else "",
                night.against,
                *(f"{night.metrics[name].current:.4g}" if name in night.metrics else "" for name in _SHOWN),
                ", ".join(f"{package} {version}" for package, version in night.versions.items()),
            ],
            "failed" if night.outcome is Outcome.REGRESSION else "",
        )
        for night in list(reversed(nights))[:_MAX_ROWS]
    ]
    columns = [text("night"), text("outcome"), text("commit"), text("beside"), *map(num, _SHOWN)]
    return [Table("Newest first", [*columns, long("versions")], rows)]


def render_benchmarks(name: str, benchmarks: Sequence[Benchmark]) -> str:
    """The page of a pytest-benchmark file as HTML text."""
    rows = [
        Row(
            [
                one.fullname,
                f"{1000 * one.median_s:.3f}",
                f"{1000 * one.iqr_s:.3f}",
                f"{one.rounds}",
                ", ".join(f"{key} {value}" for key, value in one.extra.items()),
            ]
        )
        for one in benchmarks
    ]
    columns = [text("case"), num("median, ms"), num("interquartile range, ms"), num("rounds"), long("facts")]
    blocks: list[Block] = [Table("One row a case", columns, rows)]
    section = Section("benchmarks", "Benchmarks", lambda _: [])
    return page("Benchmarks", name, [(section, [Panel("", blocks)])])
