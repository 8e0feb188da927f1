"""The page of a profile: stages, layers, and the files that other programs open."""

import csv
import io
from collections.abc import Mapping, Sequence
from statistics import fmean

from engines.interface import Layer
from reports.blocks import Block, Code, Download, Downloads, Notices, Panel, Row, Table, long, num, text
from reports.page import page
from reports.sections import Section
from reports.words import DASH, clean, count, number, percent

_MOST_LAYERS = 40
"""On the page; all are in the CSV file."""


def render_profile(
    title: str,
    subtitle: str,
    stage_ms: Sequence[Mapping[str, float]],
    layers: Sequence[Layer],
    files: Mapping[str, str],
    commands: Mapping[str, str],
    missing: Mapping[str, str],
) -> str:
    """The page as HTML text. `stage_ms` has one entry a page; `layers` begin with the one that takes most.

    `files` says what each file is, by its address beside the page; `commands` what opens others; `missing` why
    something could not be had.
    """
    doubts = [f"No {what}: {why}." for what, why in missing.items()]
    links = [Download(name, says, name, is_inside=False) for name, says in files.items()]
    sections: tuple[tuple[str, str, str, Sequence[Block]], ...] = (
        ("missing", "What is not here", "", [Notices(doubts)] if doubts else []),
        ("stages", "Where the time goes", "", _stages(stage_ms)),
        ("kinds", "Operators", "", _kinds(layers, len(stage_ms))),
        ("layers", "Layers", "Each as its runtime timed it, all pages together.", _slowest(layers)),
        (
            "files",
            "Files",
            "",
            [Downloads(links), *(Code(says, command) for says, command in commands.items())],
        ),
    )
    built = [
        (Section(key, heading, lambda _: [], lead), [Panel("", blocks)] if blocks else [])
        for key, heading, lead, blocks in sections
    ]
    return page(title, subtitle, built)


def layers_csv(layers: Sequence[Layer]) -> str:
    """Every layer as CSV text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "layer", "operator", "kernel", "calls", "total_ms"])
    writer.writerows(
        [*map(clean, (x.model, x.name, x.kind, x.kernel)), x.calls, f"{x.total_ms:.4f}"] for x in layers
    )
    return out.getvalue()


def _stages(stage_ms: Sequence[Mapping[str, float]]) -> Sequence[Block]:
    names = dict.fromkeys(name for entry in stage_ms for name in entry)
    mean_ms = {name: fmean(entry.get(name, 0.0) for entry in stage_ms) for name in names}
    whole_ms = sum(mean_ms.values())
    rows = [
        Row((name, number(spent), _share(spent, whole_ms)))
        for name, spent in sorted(mean_ms.items(), key=lambda item: -item[1])
    ]
    says = f"Mean of {count(len(stage_ms), 'page')}, without a profiler, decoding left out."
    return [Table(says, (text("Stage"), num("ms a page"), num("Share")), rows)] if rows else []


def _kinds(layers: Sequence[Layer], pages: int) -> Sequence[Block]:
    spent: dict[tuple[str, str], float] = {}
    for layer in layers:
        key = (layer.model, layer.kind)
        spent[key] = spent.get(key, 0.0) + layer.total_ms
    whole_ms = sum(spent.values())
    rows = [
        Row((kind, model, number(total / max(1, pages)), _share(total, whole_ms)))
        for (model, kind), total in sorted(spent.items(), key=lambda item: -item[1])
    ]
    columns = (text("Operator"), text("Model"), num("ms a page"), num("Share"))
    return [Table("Layers of one operator together.", columns, rows)] if rows else []


def _slowest(layers: Sequence[Layer]) -> Sequence[Block]:
    whole_ms = sum(layer.total_ms for layer in layers)
    rows = [
        Row(
            (
                x.name,
                x.model,
                x.kind,
                x.kernel,
                str(x.calls),
                number(x.total_ms),
                _share(x.total_ms, whole_ms),
            )
        )
        for x in layers[:_MOST_LAYERS]
    ]
    columns = (
        *(long("Layer"), text("Model"), text("Operator"), text("Kernel")),
        *(num("Calls"), num("ms"), num("Share")),
    )
    says = f"The {len(rows)} slowest of {count(len(layers), 'layer')}."
    return [Table(says, columns, rows)] if rows else []


def _share(part: float, whole: float) -> str:
    return percent(part / whole) if whole else DASH
