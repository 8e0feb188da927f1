"""Tables drawn from a model, so that recorder, replayer and comparison can be tested without hours of measuring.

SYNTHETIC: nothing here is a result. The model is only shaped like an engine: stage times add up, the larger models
are slower and more accurate, replicas overlap imperfectly, noise is lognormal, some settings crash.
"""

import itertools
import math
import random
from collections.abc import Mapping

from engines.interface import Choice, Knob, Machine, Ordered, Setting
from harness.space import Space
from harness.values import Failure, FailureKind
from tests.bench.replay.table import Head, Reading, Row, Table, TablePage

_KNOBS = (
    Knob("replicas", "pipeline", Ordered((1, 2)), 1, "processes"),
    Knob("prefetch", "pipeline", Ordered((0, 1, 2)), 0, "pages decoded ahead"),
    Knob("det_side", "detect", Ordered((640, 960, 1280)), 1280, "pixels", changes_text=True),
    Knob("rec_model", "recognise", Choice(("tiny", "small", "large")), "large", "size", changes_text=True),
    Knob("runtime", "recognise", Choice(("plain", "fast")), "plain", "runtime"),
    Knob("bf16", "recognise", Choice((False, True)), False, "precision", when={"runtime": ("fast",)}),
    Knob("batch", "recognise", Ordered((1, 4, 16)), 4, "lines a call"),
)
_MODEL_S = {"tiny": 0.05, "small": 0.15, "large": 0.6}
_MODEL_CER = {"tiny": 0.036, "small": 0.0305, "large": 0.03}
"""The fastest model is outside a margin of 0.2 points, the next one within it but not at the smallest side."""


def synthetic_table(seed: int = 0, pages: int = 36, rounds: int = 3, noise: float = 0.05) -> Table:
    """A table of 486 variants; `noise` is the sd of the log of a process' speed."""
    draw = random.Random(f"{seed}/synthetic")
    listed = tuple(
        TablePage(f"s/p{i:02d}", "s", f"d{i}", "en", draw.randint(300, 1500), unseen=i % 3 == 2)
        for i in range(pages)
    )
    weights = [page.reference_chars / 800 for page in listed]
    machine = Machine(cpu_model="none", cores=2, memory_mib=1024)
    space = Space("synthetic", "cpu", _KNOBS)
    tilt = draw.uniform(0.8, 1.25)
    product = itertools.product(*(knob.domain.values for knob in _KNOBS))
    names = [knob.name for knob in _KNOBS]
    variants = dict.fromkeys(space.suggested(dict(zip(names, values, strict=True))) for values in product)
    rows = tuple(
        Row(
            variant.settings,
            2.0 if variant.settings["runtime"] == "fast" else 0.0,
            "2026-01-01T00:00:00+00:00",
            tuple(_reading(variant.settings, listed, weights, tilt, noise, draw) for _ in range(rounds)),
        )
        for variant in variants
    )
    grid = {knob.name: tuple(knob.domain.values) for knob in _KNOBS}
    start: tuple[dict[str, Setting], ...] = ({"replicas": 2, "rec_model": "small"}, {"replicas": 2})
    return Table(
        Head(
            f"synthetic-{seed}",
            "synthetic",
            "cpu",
            machine,
            {},
            "2026-01-01T00:00:00+00:00",
            True,
            _KNOBS,
            grid,
            start,
            ("rec_model", "runtime", "bf16"),
            listed,
        ),
        rows,
    )


def _reading(
    settings: Mapping[str, Setting],
    pages: tuple[TablePage, ...],
    weights: list[float],
    tilt: float,
    noise: float,
    draw: random.Random,
) -> Reading:
    replicas, side, model = int(settings["replicas"]), int(settings["det_side"]), str(settings["rec_model"])
    if model == "large" and settings["batch"] == 16 and replicas == 2:
        return Reading(4.0, failure=Failure(FailureKind.OOM, "warm-up", "out of memory"))
    recognise_s = _MODEL_S[model] * {1: 1.15, 4: 1.0, 16: 1.05 * tilt}[int(settings["batch"])]
    if settings["runtime"] == "fast":
        recognise_s *= 0.6 if settings["bf16"] else 0.85
    decode_s = 0.03 if settings["prefetch"] == 0 else 0.01
    detect_s = 0.25 * (side / 1280) ** 2 * tilt
    process = math.exp(draw.gauss(0, noise))
    page_s = tuple(
        process * (decode_s + weight * (detect_s + recognise_s)) * math.exp(draw.gauss(0, noise))
        for weight in weights
    )
    wall_s = sum(page_s) / replicas * (1.1 if replicas > 1 else 1.0)
    cold_s = 1.5 * math.exp(draw.gauss(0, noise))
    rate = _MODEL_CER[model] + {640: 0.02, 960: 0.0003, 1280: 0.0}[side]
    fates = random.Random(f"{model}/{side}/edits")  # the same settings read the same text
    errors = tuple(round(rate * page.reference_chars + fates.uniform(-0.5, 0.5)) for page in pages)
    return Reading(cold_s + wall_s, cold_s, wall_s, page_s, errors)
