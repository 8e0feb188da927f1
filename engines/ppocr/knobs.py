"""The settings of this engine. Defaults are PP-OCR as RapidOCR ships it."""

from engines.interface import Choice, Knob, Machine, Ordered
from engines.ppocr import quantization, runtimes
from engines.ppocr.models import tiers

NO_ESCALATION = "none"
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
            "skip_empty",
            "preprocess",
            _SWITCH,
            False,
            "detect lines on the part of a page that is not blank paper only; blank pages cost nothing",
            changes_text=True,
        ),
        Knob(
            "overlap",
            "pipeline",
            _SWITCH,
            False,
            "of the pages of a call, detect the next one while this one is recognised; lines of two pages then share "
            "no batch, and one page a call leaves nothing to overlap",
            changes_text=True,
        ),
        Knob(
            "split_columns",
            "crop",
            _SWITCH,
            False,
            "cut boxes that reach across the gutter between two columns of text",
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
        *runtimes.knobs("det", "detect", machine),
        *quantization.knobs("det", "detect"),
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
        *runtimes.knobs("rec", "recognise", machine),
        *quantization.knobs("rec", "recognise"),
        Knob(
            "rec_batch",
            "recognise",
            Ordered((1, 2, 4, 6, 8, 16, 32), high=256),
            6,
            "lines per call of the recognition model, of similar width, from all pages of a call",
            changes_text=True,
        ),
        Knob(
            "rec_batch_width",
            "recognise",
            Ordered((0, 640, 1280, 2560, 5120), low=0, high=1_000_000),
            0,
            "pixels of width that one call may hold, padding included, so that wide lines run in smaller batches; "
            "0 sets no limit",
            changes_text=True,
        ),
        Knob(
            "rec_width_bucket",
            "recognise",
            Ordered((1, 8, 16, 32, 64), high=512),
            1,
            "batch widths are rounded up to a multiple of this, so that OpenVINO compiles for fewer of them",
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
        Knob(
            "rec_escalate_model",
            "recognise",
            Choice((NO_ESCALATION, *tiers("rec"))),
            NO_ESCALATION,
            "tier that reads the lines again that the recogniser is unsure of, with the same rec_ settings",
            changes_text=True,
        ),
        Knob(
            "rec_escalate_below",
            "recognise",
            # Over these values v6_tiny hands over 5 to 25 % of the lines of English scans and renders.
            Ordered((0.4, 0.45, 0.5, 0.55, 0.6), low=0.0, high=1.0),
            0.5,
            "lines whose two least certain characters are less sure than this on average are read again",
            when={"rec_escalate_model": tiers("rec")},
            changes_text=True,
        ),
    )
