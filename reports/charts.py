"""The pictures of the page: values in, SVG out. At most `_MOST_POINTS` points are drawn a series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from reports.svg import BAD, BASELINE, BEST, INK, MUTED, TRIAL, markup, style
from reports.words import clean, number, shorten

PointKind = Literal["trial", "partial", "confirmed", "baseline", "best"]
_Xy = Sequence[tuple[float, float]]
_SIDES = {"baseline": BASELINE, "best": BEST}
_WIDTH_IN = 7.2
_MOST_POINTS = 500
_MOST_SAMPLES = 200
_LABEL_CHARS = 28


@dataclass(frozen=True, slots=True)
class Point:
    """One measured trial: throughput in pages per second against error as a ratio."""

    pages_per_second: float
    error: float
    kind: PointKind
    front: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One trial of the search: when it ended, its throughput (None where it failed)."""

    at_s: float
    pages_per_second: float | None
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """One counter over time for one side."""

    at_s: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class _Mark:
    """How points of one kind look. Shapes differ too, for readers who do not tell the colours apart."""

    label: str
    shape: str
    size: float
    colour: str
    filled: bool = True


_MARKS: Mapping[PointKind, _Mark] = {
    "trial": _Mark("measured", "o", 4.5, TRIAL),
    "partial": _Mark("dropped early", "o", 4.5, TRIAL, filled=False),
    "confirmed": _Mark("finalist", "D", 7, BEST, filled=False),
    "baseline": _Mark("baseline", "s", 8, BASELINE),
    "best": _Mark("best", "D", 8, BEST),
}
_FAILED = _Mark("failed", "x", 5.5, BAD)
_ABOVE = _Mark("beyond the axis", "^", 5, TRIAL)


def pareto(points: Sequence[Point], error_name: str, name: str, says: str) -> Markup:
    """Throughput (right is better) against error in per cent (down is better), with the front as a line.

    Errors far above those that matter would flatten the rest: they are drawn on the upper edge.
    """
    with style():
        figure, axes = _canvas(3.9)
        top = _error_limit(points)
        right = 1.12 * max(point.pages_per_second for point in points)
        front = sorted({(point.pages_per_second, point.error * 100) for point in points if point.front})
        if front:
            edge = [(0.0, front[0][1]), *front, (front[-1][0], top * 1.08)]
            axes.step(*_axes_of(edge), where="pre", color=MUTED, linewidth=1.1, label="Pareto front")
        for kind, mark in _MARKS.items():
            shown = [(p.pages_per_second, p.error * 100) for p in points if p.kind == kind]
            _dots(axes, [(x, y) for x, y in shown if y <= top], mark)
            if kind in _SIDES:
                for x, y in shown:
                    _name(axes, kind, (x, min(y, top)), mark.colour)
        _dots(axes, [(p.pages_per_second, top * 1.04) for p in points if p.error * 100 > top], _ABOVE)
        axes.set(xlim=(0, right), ylim=(0, top * 1.08))
        axes.set_xlabel("throughput, pages per second (right is better)")
        axes.set_ylabel(f"{error_name}, % (down is better)")
        _legend(axes)
        return markup(figure, name, says)


def stage_bars(stages: Mapping[str, Mapping[str, float]], name: str, says: str) -> Markup:
    """Milliseconds per page by stage, one bar a side (`baseline`, `best`)."""
    with style():
        sides = [side for side in _SIDES if any(side in values for values in stages.values())]
        figure, axes = _canvas(0.8 + (0.19 * len(sides) + 0.08) * len(stages))
        longest = max(ms for values in stages.values() for ms in values.values()) or 1.0
        height = 0.8 / len(sides)
        for offset, side in enumerate(sides):
            rows = np.arange(len(stages)) + (offset - (len(sides) - 1) / 2) * height
            lengths = [values.get(side, 0.0) for values in stages.values()]
            axes.barh(rows, lengths, height * 0.9, color=_SIDES[side], label=side)
            for row, length in zip(rows, lengths, strict=True):
                axes.text(length + longest * 0.01, row, number(length), va="center", fontsize=8, color=MUTED)
        axes.set_yticks(range(len(stages)), [_label(stage) for stage in stages], color=INK)
        axes.set(ylim=(len(stages) - 0.4, -0.6), xlim=(0, longest * 1.12))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("milliseconds per page (shorter is better)")
        _legend(axes)
        return markup(figure, name, says)


def shares(values: Mapping[str, float], name: str, says: str) -> Markup:
    """Shares of a whole as bars, in the order given."""
    with style():
        figure, axes = _canvas(0.6 + 0.24 * len(values))
        lengths = [100 * share for share in values.values()]
        axes.barh(range(len(lengths)), lengths, 0.7, color=BEST)
        for row, length in enumerate(lengths):
            axes.text(
                length + max(lengths) * 0.01, row, f"{length:.0f}", va="center", fontsize=8, color=MUTED
            )
        axes.set_yticks(range(len(lengths)), [_label(label) for label in values], color=INK)
        axes.set(ylim=(len(lengths) - 0.4, -0.6), xlim=(0, max(lengths) * 1.12))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("share of importance, %")
        return markup(figure, name, says)


def counters(panels: Mapping[str, Mapping[str, Series]], name: str, says: str) -> Markup:
    """One small panel a counter, one line a side, over the seconds since each trial's process started."""
    with style():
        rows, columns = -(-len(panels) // 2), min(2, len(panels))
        figure = Figure(figsize=(_WIDTH_IN, 0.6 + 1.5 * rows), layout="constrained")
        grid = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes, (counter, sides) in zip(grid, panels.items(), strict=False):
            for side, series in sides.items():
                axes.plot(*_binned(series), color=_SIDES[side], linewidth=1.4)
            axes.set_title(_label(counter), loc="left", fontsize=9, color=INK)
            axes.set_ylim(bottom=0)
            axes.set_xlim(left=0)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel("seconds since the process started", fontsize=9, color=MUTED)
        shown = [side for side in _SIDES if any(side in sides for sides in panels.values())]
        lines = [grid[0].plot([], [], color=_SIDES[side], linewidth=1.8)[0] for side in shown]
        figure.legend(lines, shown, loc="outside upper left", ncols=2)
        return markup(figure, name, says)


def history(
    events: Sequence[Event], best: Sequence[Event], baseline: float | None, name: str, says: str
) -> Markup:
    """Throughput of each trial over the seconds of the budget, failures as crosses, and the best so far."""
    with style():
        figure, axes = _canvas(3.2)
        if baseline is not None:
            axes.axhline(baseline, color=BASELINE, linewidth=1.2, linestyle="--", label="baseline")
        if best:
            steps = [(event.at_s, event.pages_per_second or 0.0) for event in best]
            end = max(event.at_s for event in events)
            line = _axes_of([*steps, (end, steps[-1][1])])
            axes.step(*line, where="post", color=BEST, linewidth=1.8, label="best so far")
        measured = [(event, event.pages_per_second) for event in events if event.pages_per_second is not None]
        _dots(axes, [(event.at_s, speed) for event, speed in measured if not event.partial], _MARKS["trial"])
        _dots(axes, [(event.at_s, speed) for event, speed in measured if event.partial], _MARKS["partial"])
        _dots(axes, [(event.at_s, 0.0) for event in events if event.pages_per_second is None], _FAILED)
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.set_xlabel("seconds of the budget")
        axes.set_ylabel("pages per second")
        _legend(axes)
        return markup(figure, name, says)


def waterfall(
    rungs: Sequence[tuple[str, float, float, float]],
    claims: Sequence[tuple[float, float] | None],
    name: str,
    says: str,
) -> Markup:
    """Gain of each rung over the previous with its interval (label, value, low, high), and the claimed range."""
    with style():
        figure, axes = _canvas(0.9 + 0.34 * len(rungs))
        axes.axvline(1, color=BASELINE, linewidth=1.2, linestyle="--", label="no gain")
        known = [high for _, _, _, high in rungs] + [claim[1] for claim in claims if claim]
        measured = max([1.2, *(value for _, value, _, _ in rungs)])
        right = 1.15 * max(measured, min(max(known, default=1.2), 6.0))  # claims may be far off
        for row, ((_, value, low, high), claim) in enumerate(zip(rungs, claims, strict=True)):
            if claim:
                axes.plot(claim, (row + 0.22, row + 0.22), color=MUTED, linewidth=4, solid_capstyle="butt")
                axes.plot(claim[0], row + 0.22, "|", color=MUTED, markersize=8)
            axes.plot((low, high), (row, row), color=BEST, linewidth=1.6)
            axes.plot(value, row, "D", color=BEST, markersize=6)
        axes.plot([], [], "D-", color=BEST, label="measured, 95 % interval")
        axes.plot([], [], color=MUTED, linewidth=4, label="claimed")
        axes.set_yticks(range(len(rungs)), [_label(label) for label, *_ in rungs], color=INK)
        axes.set(ylim=(len(rungs) - 0.4, -0.6), xlim=(0, right))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("throughput against the previous rung (right is better)")
        _legend(axes)
        return markup(figure, name, says)


def _canvas(height_in: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots()


def _legend(axes: Any) -> None:
    entries = len(axes.get_legend_handles_labels()[0])
    if entries:
        columns = 5 if entries <= 5 else 4
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2)


def _dots(axes: Any, points: _Xy, mark: _Mark) -> None:
    if points:
        face = mark.colour if mark.filled else "none"
        axes.plot(
            *_axes_of(_thin(points)),
            linestyle="none",
            marker=mark.shape,
            markersize=mark.size,
            markerfacecolor=face,
            markeredgecolor=mark.colour,
            label=mark.label,
            clip_on=False,
        )


def _name(axes: Any, text: str, at: tuple[float, float], colour: str) -> None:
    """The label of a point, above it; the page's style gives bold text in charts an outline."""
    axes.annotate(
        text, at, (0, 9), textcoords="offset points", ha="center", color=colour, weight="bold", zorder=5
    )


def _error_limit(points: Sequence[Point]) -> float:
    """The upper end of the error axis in per cent: three times the worst point that matters."""
    matter = [point.error for point in points if point.front or point.kind not in ("trial", "partial")]
    highest = max(point.error for point in points)
    limit = min(highest, 3 * max(matter, default=highest))
    return max(limit * 100, 0.1)


def _thin(points: _Xy) -> _Xy:
    """At most `_MOST_POINTS` of the points, evenly picked in order of their position, duplicates dropped."""
    distinct = sorted(set(points))
    if len(distinct) <= _MOST_POINTS:
        return distinct
    picks = np.linspace(0, len(distinct) - 1, _MOST_POINTS).round().astype(int)
    return [distinct[pick] for pick in picks]


def _axes_of(points: _Xy) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _binned(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of at most `_MOST_SAMPLES` runs of neighbouring samples."""
    bins = min(_MOST_SAMPLES, len(series.at_s))
    parts = (np.array_split(np.asarray(axis, dtype=float), bins) for axis in (series.at_s, series.values))
    at_s, values = (np.array([part.mean() for part in axis]) for axis in parts)
    return at_s, values


def _label(text: str) -> str:
    """A name from a study, fit for the font: plain ASCII, short."""
    return shorten(clean(text).encode("ascii", "replace").decode(), _LABEL_CHARS)
