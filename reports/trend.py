"""The page of many nights, and that of a pytest-benchmark file: the same page kind as a run's report."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Literal

from markupsafe import Markup
from matplotlib.figure import Figure

from harness.check.benchmarks import Benchmark
from harness.check.history import History, Night, change_points
from harness.check.verdicts import Outcome
from reports import svg
from reports.blocks import Answer, Block, Chart, Panel, Prose, Row, Table, long, num, text
from reports.page import page
from reports.sections import Section
from reports.words import clean

_SHOWN = {
    "throughput": "pages/s",
    "cer": "CER",
    "characters_per_page": "characters/page",
    "lines_per_page": "lines/page",
    "peak_memory": "memory, MiB",
    "cold_start": "cold start, s",
}
"""Metrics that are drawn, with their names for people."""
_TONES: Mapping[Outcome, Literal["good", "neutral", "bad"]] = {
    Outcome.PASS: "good",
    Outcome.REGRESSION: "bad",
    Outcome.INCONCLUSIVE: "neutral",
}
_MAX_ROWS = 400
_DATES = 6
"""Nights that are named below a chart."""


def render_history(history: History) -> str:
    """The page of a history as HTML text: the last night first, then each metric over time by machine."""
    machines = dict.fromkeys(night.fingerprint for night in history.nights)
    by_machine = [[night for night in history.nights if night.fingerprint == one] for one in machines]
    torn = history.unreadable
    left_out = f"Left out, as torn or not of this program: {torn} of the history's lines." if torn else ""
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
        (Section("nights", "All nights", lambda _: [], left_out), _table),
    )
    built = [
        (section, [Panel(_machine(nights[-1]), build(nights)) for nights in by_machine])
        for section, build in sections
    ]
    count, first, last = len(history.nights), _time(history.nights[0])[:10], _time(history.nights[-1])[:10]
    several = len(machines) > 1
    place = f"{len(machines)} machines" if several else _machine(history.nights[-1])
    subtitle = f"{count} nights, {first} to {last}, on {place}"
    return page("Nightly checks", subtitle, built, several=several)


def _machine(night: Night) -> str:
    return f"{night.machine} ({night.fingerprint[:8]})"


def _time(night: Night) -> str:
    """Date and minute in UTC, or what is written where that is no time."""
    try:
        return datetime.fromisoformat(night.at).astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return night.at


def _last(nights: Sequence[Night]) -> Sequence[Block]:
    night = nights[-1]
    worst = [_SHOWN.get(n, n) for n, point in night.metrics.items() if point.outcome is not Outcome.PASS]
    said = f"not passed: {', '.join(worst)}" if worst else "every metric passed"
    said = night.failure or said
    return [
        Answer(
            _TONES[night.outcome],
            f"{night.outcome}",
            f"{_time(night)} UTC, {_commit(night)}, beside {night.against}: {said}.",
        )
    ]


def _trends(nights: Sequence[Night]) -> Sequence[Block]:
    blocks: list[Block] = []
    constant = []
    for name, title in _SHOWN.items():
        shown = [night for night in nights if name in night.metrics]
        values = [night.metrics[name].current for night in shown]
        if len(set(values)) < 2:
            constant += [f"{title} {values[0]:.4g}"] if values else []
            continue
        changes = change_points(values)
        says = f"{title} over {len(shown)} nights: " + (
            "; ".join(_change(shown, values, edges) for edges in _around(changes, len(values)))
            or "no lasting change"
        )
        blocks.append(Chart(_picture(name, shown, changes, says), f"{says}."))
    if constant:
        blocks.append(Prose(f"The same every night: {', '.join(constant)}."))
    return blocks


def _around(changes: Sequence[int], count: int) -> list[tuple[int, int, int]]:
    return list(zip([0, *changes], changes, [*changes[1:], count], strict=False))


def _change(nights: Sequence[Night], values: Sequence[float], edges: tuple[int, int, int]) -> str:
    before, here, after = edges
    levels = median(values[before:here]), median(values[here:after])
    share = f" ({100 * (levels[1] / levels[0] - 1):+.1f} %)" if levels[0] else ""
    changed = _changed(nights[here - 1], nights[here])
    with_it = f", with {changed}" if changed else ""
    level = f"{levels[0]:.4g} to {levels[1]:.4g}{share}"
    return f"changed from {level} at {_time(nights[here])}, {_commit(nights[here])}{with_it}"


def _changed(before: Night, night: Night) -> str:
    """The packages whose versions differ between two nights."""
    names = sorted({*before.versions, *night.versions})
    versions = [
        (name, before.versions.get(name, "absent"), night.versions.get(name, "absent")) for name in names
    ]
    return ", ".join(f"{name} {old} to {new}" for name, old, new in versions if old != new)


def _commit(night: Night) -> str:
    return f"commit {night.commit[:12]}" if night.commit else "no commit known"


def _picture(name: str, nights: Sequence[Night], changes: Sequence[int], says: str) -> Markup:
    points = [night.metrics[name] for night in nights]
    bad = [i for i, point in enumerate(points) if point.outcome is Outcome.REGRESSION]
    with svg.style():
        figure = Figure(figsize=(7.4, 2.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(range(len(points)), [p.current for p in points], "o", color=svg.TRIAL, markersize=3.5)
        axes.plot(bad, [points[i].current for i in bad], "X", color=svg.BAD, markersize=7)
        for start, end in pairwise([0, *changes, len(points)]):
            level = median(point.current for point in points[start:end])
            axes.plot([start - 0.4, end - 0.6], [level, level], color=svg.BEST, linewidth=1.6)
        named = range(0, len(points), max(1, math.ceil(len(points) / _DATES)))
        axes.set_xticks(named, [clean(_time(nights[i]))[:10] for i in named])
        axes.set_ylabel(_SHOWN[name])
        return svg.markup(figure, f"trend-{name}-{nights[0].fingerprint}", says)


def _table(nights: Sequence[Night]) -> Sequence[Block]:
    rows = [
        Row(
            [
                _time(night),
                night.outcome,
                night.commit[:12] if night.commit else "",
                night.against,
                *(f"{night.metrics[name].current:.4g}" if name in night.metrics else "" for name in _SHOWN),
                _changed(before, night) if before else "",
            ],
            "failed" if night.outcome is Outcome.REGRESSION else "",
        )
        for before, night in list(zip([None, *nights], nights, strict=False))[::-1][:_MAX_ROWS]
    ]
    columns = [
        text("night (UTC)"),
        text("outcome"),
        text("commit"),
        text("beside"),
        *map(num, _SHOWN.values()),
    ]
    versions = ", ".join(f"{package} {version}" for package, version in sorted(nights[-1].versions.items()))
    return [
        Table(
            "Newest first; a red cross in a chart is a regression",
            [*columns, long("other versions since")],
            rows,
        ),
        Prose(f"Versions of the last night: {versions or 'not known'}."),
    ]


def render_benchmarks(name: str, benchmarks: Sequence[Benchmark]) -> str:
    """The page of a pytest-benchmark file as HTML text."""
    rows = [
        Row(
            [
                f"{1000 * one.median_s:.3f}",
                f"{1000 * one.iqr_s:.3f}",
                f"{one.rounds}",
                one.fullname,
                ", ".join(f"{key} {value}" for key, value in one.extra.items()),
            ]
        )
        for one in benchmarks
    ]
    columns = [num("median, ms"), num("IQR, ms"), num("rounds"), long("case"), long("facts")]
    blocks: list[Block] = [
        Table("One row a case; IQR is the interquartile range of its rounds", columns, rows)
    ]
    section = Section("benchmarks", "Benchmarks", lambda _: [])
    return page("Benchmarks", name, [(section, [Panel("", blocks)])])
