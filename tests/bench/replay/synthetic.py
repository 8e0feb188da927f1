"""Tables drawn from a model, so that recorder, replayer and comparison can be tested without hours of measuring.

SYNTHETIC: nothing here is a result. The model is only shaped like an engine: stage times add up, the larger models
are slower and more accurate, replicas overlap imperfectly, noise is lognormal, some settings crash.

`hard_table` is nearer to an engine: processes and threads fight for the cores, the best batch depends on the
runtime, variants differ in their noise, cold starts are long, int8 reads worse with the small models and crashes with
one runtime, on which bf16 is slow, and now and then anything fails.
"""

import itertools
import math
import random
from collections.abc import Mapping

from engines.interface import Choice, Knob, Machine, Ordered, Setting
from harness.space import Space
from harness.values import Failure, FailureKind, Variant
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


_HARD_KNOBS = (
    Knob("replicas", "pipeline", Ordered((1, 2)), 1, "processes"),
    Knob("threads", "pipeline", Ordered((1, 2)), 2, "of each process"),
    Knob("det_side", "detect", Ordered((640, 960, 1280)), 1280, "pixels", changes_text=True),
    Knob("rec_model", "recognise", Choice(("tiny", "small", "large")), "large", "size", changes_text=True),
    Knob("runtime", "recognise", Choice(("plain", "fast")), "plain", "runtime"),
    Knob("precision", "recognise", Choice(("f32", "bf16", "int8")), "f32", "numbers", changes_text=True),
    Knob("batch", "recognise", Ordered((1, 8)), 8, "lines a call"),
)
_OVERLAP = {(1, 1): 1.0, (1, 2): 1.55, (2, 1): 1.9, (2, 2): 1.45}
"""Speed on two cores by replicas and threads: either pays alone, both fight."""
_BATCH = {"plain": {1: 1.2, 8: 1.0}, "fast": {1: 0.62, 8: 0.75}}
"""Time of recognition: which batch is best depends on the runtime."""


def synthetic_table(seed: int = 0, pages: int = 36, rounds: int = 3, noise: float = 0.05) -> Table:
    """A table of 486 variants; `noise` is the sd of the log of a process' speed."""
    draw = random.Random(f"{seed}/synthetic")
    listed, weights = _pages(draw, pages)
    tilt = draw.uniform(0.8, 1.25)
    rows = tuple(
        Row(
            variant.settings,
            2.0 if variant.settings["runtime"] == "fast" else 0.0,
            _CREATED,
            tuple(_reading(variant.settings, listed, weights, tilt, noise, draw) for _ in range(rounds)),
        )
        for variant in _variants(_KNOBS)
    )
    start: tuple[dict[str, Setting], ...] = ({"replicas": 2, "rec_model": "small"}, {"replicas": 2})
    return Table(_head(f"synthetic-{seed}", _KNOBS, start, ("rec_model", "runtime", "bf16"), listed), rows)


def hard_table(seed: int = 0, pages: int = 30, rounds: int = 3) -> Table:
    """A table of 432 variants, whose noise is from 3 to 10 %."""
    draw = random.Random(f"{seed}/hard")
    listed, weights = _pages(draw, pages)
    tilt = draw.uniform(0.8, 1.25)

    def row(settings: Mapping[str, Setting]) -> Row:
        noise = draw.uniform(0.03, 0.1)
        readings = tuple(_hard_reading(settings, listed, weights, tilt, noise, draw) for _ in range(rounds))
        return Row(settings, 0.0 if settings["runtime"] == "plain" else 4.0, _CREATED, readings)

    rows = tuple(row(variant.settings) for variant in _variants(_HARD_KNOBS))
    artefact = ("rec_model", "runtime", "precision")
    return Table(_head(f"hard-{seed}", _HARD_KNOBS, ({"replicas": 2},), artefact, listed), rows)


_CREATED = "2026-01-01T00:00:00+00:00"


def _pages(draw: random.Random, count: int) -> tuple[tuple[TablePage, ...], list[float]]:
    """Pages, every third of them unseen, and their share of the work of a usual one."""
    listed = tuple(
        TablePage(f"s/p{i:02d}", "s", f"d{i}", "en", draw.randint(300, 1500), unseen=i % 3 == 2)
        for i in range(count)
    )
    return listed, [page.reference_chars / 800 for page in listed]


def _variants(knobs: tuple[Knob, ...]) -> list[Variant]:
    space = Space("synthetic", "cpu", knobs)
    product = itertools.product(*(knob.domain.values for knob in knobs))
    names = [knob.name for knob in knobs]
    return list(dict.fromkeys(space.suggested(dict(zip(names, row, strict=True))) for row in product))


def _head(
    name: str,
    knobs: tuple[Knob, ...],
    start: tuple[dict[str, Setting], ...],
    artefact: tuple[str, ...],
    pages: tuple[TablePage, ...],
) -> Head:
    machine = Machine(cpu_model="none", cores=2, memory_mib=1024)
    grid = {knob.name: tuple(knob.domain.values) for knob in knobs}
    return Head(name, "synthetic", "cpu", machine, {}, _CREATED, True, knobs, grid, start, artefact, pages)


def _hard_reading(
    settings: Mapping[str, Setting],
    pages: tuple[TablePage, ...],
    weights: list[float],
    tilt: float,
    noise: float,
    draw: random.Random,
) -> Reading:
    replicas, threads = int(settings["replicas"]), int(settings["threads"])
    side, batch = int(settings["det_side"]), int(settings["batch"])
    model, runtime, precision = (str(settings[name]) for name in ("rec_model", "runtime", "precision"))
    cold_s = (4.0 if runtime == "plain" else 5.0) * math.exp(draw.gauss(0, noise))
    if model == "large" and batch == 8 and replicas == 2:
        return Reading(2 * cold_s, failure=Failure(FailureKind.OOM, "warm-up", "out of memory"))
    if runtime == "plain" and precision == "int8":
        return Reading(cold_s, failure=Failure(FailureKind.CRASH, "open", "no such kernel"))
    if draw.random() < 0.005:
        return Reading(cold_s, failure=Failure(FailureKind.CRASH, "read", "died"))
    numbers = {"f32": 1.0, "bf16": 1.3 if runtime == "plain" else 0.65, "int8": 0.6}[precision]
    recognise_s = 2 * _MODEL_S[model] * _BATCH[runtime][batch] * numbers
    detect_s = 0.5 * (side / 1280) ** 2 * tilt
    process = math.exp(draw.gauss(0, noise)) / _OVERLAP[replicas, threads] * replicas
    page_s = tuple(
        process * (0.02 + weight * (detect_s + recognise_s)) * math.exp(draw.gauss(0, noise))
        for weight in weights
    )
    rate = _MODEL_CER[model] + {640: 0.02, 960: 0.0003, 1280: 0.0}[side]
    rate += 0.004 if precision == "int8" and model != "large" else 0.0
    wall_s = sum(page_s) / replicas
    shares = _shares(page_s, {"decode": 0.02, "detect": detect_s, "recognise": recognise_s})
    edits = _edits(f"{model}/{side}/{precision}", rate, pages)
    return Reading(cold_s + wall_s, cold_s, wall_s, page_s, edits, stage_s=shares)


def _shares(page_s: tuple[float, ...], stages_s: Mapping[str, float]) -> dict[str, float]:
    """The time of all pages, shared out among the stages."""
    scale = sum(page_s) / sum(stages_s.values())
    return {stage: scale * seconds for stage, seconds in stages_s.items()}


def _edits(reads_alike: str, rate: float, pages: tuple[TablePage, ...]) -> tuple[int, ...]:
    """Character edits of each page: settings that read alike read the same text."""
    fates = random.Random(f"{reads_alike}/edits")
    return tuple(round(rate * page.reference_chars + fates.uniform(-0.5, 0.5)) for page in pages)


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
    shares = _shares(page_s, {"decode": decode_s, "detect": detect_s, "recognise": recognise_s})
    edits = _edits(f"{model}/{side}", rate, pages)
    return Reading(cold_s + wall_s, cold_s, wall_s, page_s, edits, stage_s=shares)
