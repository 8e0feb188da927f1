"""The settings of this engine. Defaults are PP-OCR as RapidOCR ships it."""

from collections.abc import Iterator, Mapping

from engines.interface import Choice, Knob, Machine, Ordered, Setting, Stage
from engines.ppocr.models import tiers
from engines.ppocr.runtimes import GRAPH_LEVELS, PRECISIONS, RUNTIMES

_SWITCH = Choice((False, True))


def knobs(machine: Machine) -> tuple[Knob, ...]:
    """What can be set on `machine`."""
    return (*_page(), *_detection(machine), *_direction(), *_recognition(machine))


def _page() -> tuple[Knob, ...]:
    return (
        Knob(
            "max_side",
            "preprocess",
            Ordered((960, 1280, 1600, 2000, 2560, 3200, 4000), low=320, high=10_000),
            2000,
            "longest side in pixels of the page that is worked on; larger pages are made smaller first",
            changes_text=True,
        ),
        Knob(
            "crop_mode",
            "crop",
            Choice(("exact", "fast")),
            "exact",
            "fast: cut an almost upright line out as a rectangle instead of rectifying it",
            changes_text=True,
        ),
        Knob(
            "text_score",
            "postprocess",
            Ordered((0.0, 0.3, 0.5, 0.7), low=0.0, high=1.0),
            0.5,
            "lines that the recogniser is less sure of are dropped",
            changes_text=True,
        ),
    )


def _detection(machine: Machine) -> tuple[Knob, ...]:
    return (
        Knob(
            "det_model",
            "detect",
            Choice(tiers("det"), open=True),
            "v6_small",
            "detection model: a tier or the path of a model file",
            changes_text=True,
        ),
        *_runtime("det", "detect", machine),
        Knob(
            "det_side",
            "detect",
            Ordered((640, 736, 800, 960, 1120, 1280, 1536, 1792, 2048), low=32, high=8192),
            736,
            "side limit in pixels of the image that lines are detected on",
            changes_text=True,
        ),
        Knob(
            "det_limit_type",
            "detect",
            Choice(("min", "max")),
            "min",
            "min: enlarge until the short side reaches det_side; max: shrink until the long side fits it",
            changes_text=True,
        ),
        Knob(
            "det_box_thresh",
            "detect",
            Ordered((0.3, 0.4, 0.5, 0.6, 0.7), low=0.0, high=1.0),
            0.5,
            "boxes that the detector is less sure of are dropped",
            changes_text=True,
        ),
        Knob(
            "det_unclip_ratio",
            "detect",
            Ordered((1.2, 1.4, 1.6, 1.8, 2.0), low=0.5, high=4.0),
            1.6,
            "how far boxes are widened beyond the detected core of a line",
            changes_text=True,
        ),
        Knob(
            "det_dilation",
            "detect",
            _SWITCH,
            True,
            "thicken the detected cores by a pixel, which joins broken ones",
            changes_text=True,
        ),
        Knob(
            "det_score_mode",
            "detect",
            Choice(("fast", "slow")),
            "fast",
            "score boxes by their rectangle (fast) or by their outline (slow)",
            changes_text=True,
        ),
    )


def _direction() -> tuple[Knob, ...]:
    return (
        Knob(
            "use_cls",
            "recognise",
            _SWITCH,
            True,
            "look for lines that stand on their head and turn them (runs like recognition)",
            changes_text=True,
        ),
        Knob(
            "cls_batch",
            "recognise",
            Ordered((1, 2, 4, 6, 8, 16, 32), high=256),
            6,
            "lines per call of the direction classifier",
            when={"use_cls": (True,)},
        ),
    )


def _recognition(machine: Machine) -> tuple[Knob, ...]:
    return (
        Knob(
            "rec_model",
            "recognise",
            Choice(tiers("rec"), open=True),
            "v6_small",
            "recognition model: a tier or the path of a model file",
            changes_text=True,
        ),
        *_runtime("rec", "recognise", machine),
        Knob(
            "rec_streams",
            "recognise",
            Ordered(_powers(machine.cores), high=max(machine.cores, 1)),
            1,
            "batches recognised at the same time, sharing rec_threads",
            when={"rec_runtime": ("openvino",)},
        ),
        Knob(
            "rec_batch",
            "recognise",
            Ordered((1, 2, 4, 6, 8, 16, 32), high=256),
            6,
            "lines per call of the recognition model, of similar width, from all pages of a call",
            changes_text=True,
        ),
        Knob(
            "rec_width_bucket",
            "recognise",
            Ordered((1, 8, 16, 32, 64), high=512),
            1,
            "batch widths are rounded up to a multiple of this; OpenVINO keeps about 1 MiB for each width",
            changes_text=True,
        ),
        Knob(
            "rec_min_width",
            "recognise",
            Ordered((32, 48, 64, 96, 160, 320), low=16, high=2048),
            320,
            "narrower lines are padded to this many pixels",
            changes_text=True,
        ),
    )


def _runtime(prefix: str, stage: Stage, machine: Machine) -> Iterator[Knob]:
    """Runtime, threads and what each runtime can be told, for one stage."""
    runtime = f"{prefix}_runtime"
    onnx: Mapping[str, tuple[Setting, ...]] = {runtime: ("onnxruntime",)}
    yield Knob(runtime, stage, Choice(RUNTIMES), "onnxruntime", "what runs the model", changes_text=True)
    yield Knob(
        f"{prefix}_threads",
        stage,
        Ordered((0, *_powers(machine.cores)), high=machine.cores),
        0,
        "threads of one call; 0 leaves it to the runtime, which takes all cores",
    )
    yield Knob(
        f"{prefix}_precision",
        stage,
        Choice(PRECISIONS),
        "f32",
        "number format that OpenVINO may compute in",
        when={runtime: ("openvino",)},
        changes_text=True,
    )
    yield Knob(f"{prefix}_arena", stage, _SWITCH, False, "keep freed memory for later calls", when=onnx)
    yield Knob(f"{prefix}_mem_pattern", stage, _SWITCH, True, "plan memory once for each shape", when=onnx)
    yield Knob(f"{prefix}_spinning", stage, _SWITCH, True, "idle threads wait busily for work", when=onnx)
    yield Knob(
        f"{prefix}_graph_level",
        stage,
        Choice(GRAPH_LEVELS),
        "all",
        "how far ONNX Runtime rewrites the graph",
        when=onnx,
        changes_text=True,
    )


def _powers(cores: int) -> tuple[int, ...]:
    """1, 2, 4, ... and `cores`."""
    powers = [1]
    while powers[-1] * 2 < cores:
        powers.append(powers[-1] * 2)
    return (*powers, cores) if cores > 1 else (1,)
