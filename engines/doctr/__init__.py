"""docTR on PyTorch (https://mindee.github.io/doctr): settings are those of `ocr_predictor` and of torch.compile.

Left out because it does nothing here: `detect_orientation` and `detect_language` only add to the export. Half
precision is offered where there is a GPU; the library supports it nowhere else.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pickle import UnpicklingError
from typing import Any

from engines import mindee, pytorch
from engines.doctr.matrix import compile_models
from engines.doctr.measure import compile_facts
from engines.interface import (
    Choice,
    Knob,
    Machine,
    Page,
    PageText,
    Setting,
    Settings,
    StageTimer,
    UnsupportedError,
)

__all__ = ["compile_facts", "compile_models", "fetch", "knobs", "open", "packages", "summary", "unusable"]

_LIBRARY = "doctr"
_RECO_BS = 128
_PRECISIONS = ("float32", "float16", "bfloat16")


def summary() -> str:
    """What it is, with the licence of code and weights."""
    return "docTR: DBNet, LinkNet or FAST and nine readers of words on PyTorch (code and weights Apache-2.0)"


def packages() -> tuple[str, ...]:
    """Distributions whose versions decide what it does."""
    return ("python-doctr", "torch", "torchvision")


def unusable(machine: Machine) -> str | None:
    """Why it cannot run here, None where it can."""
    del machine  # a CPU is enough
    if find_spec(_LIBRARY) is None:
        return "the package python-doctr is not installed; run `pip install 'ocr-tune[doctr]'`"
    return mindee.missing_defaults(_LIBRARY)


def fetch() -> Iterator[str]:
    """Bring the weights of every architecture into the library's cache; a sentence for each."""
    return mindee.fetch(_LIBRARY)


def knobs(machine: Machine) -> tuple[Knob, ...]:
    """What can be set. The defaults are those of `ocr_predictor`."""
    precision = Choice(_PRECISIONS)
    half = Knob("precision", "pipeline", precision, "float32", "of weights and pages", changes_text=True)
    return (
        *mindee.knobs(_LIBRARY, _RECO_BS),
        pytorch.thread_knob(machine),
        *pytorch.compile_knobs("det", "detect"),
        *pytorch.compile_knobs("rec", "recognise"),
        *((half,) if machine.gpus else ()),
    )


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator["_Reader"]:
    """DocTR on `device` ("cpu", "cuda:0", ...). Nothing is downloaded.

    Side effect: sets TORCH_FORCE_WEIGHTS_ONLY_LOAD. Raises UnsupportedError where weights are missing.
    """
    if settings.get("precision", "float32") != "float32" and device == "cpu":
        raise UnsupportedError(f"doctr: precision={settings['precision']} runs on a GPU only; set float32")
    with pytorch.running(_LIBRARY, device, settings):
        mindee.needed(_LIBRARY, settings)
        with pytorch.quiet():
            predictor = predictor_of(settings, device, timer, pretrained=True)
        yield _Reader(predictor, timer)


def predictor_of(settings: Settings, device: str, timer: StageTimer, *, pretrained: bool) -> Any:
    """The library's predictor, compiled and timed as set; weights are random where not `pretrained`."""
    import torch
    from doctr.models import ocr_predictor

    predictor = ocr_predictor(
        _model("detection", settings["det_arch"]),
        _model("recognition", settings["reco_arch"]),
        pretrained=pretrained,
        pretrained_backbone=False,
        **mindee.arguments(settings),
    ).to(device=device, dtype=getattr(torch, str(settings.get("precision", "float32"))))
    detect, recognise = predictor.det_predictor, predictor.reco_predictor
    detect.model = pytorch.compiled(detect.model, settings, "det")
    recognise.model = pytorch.compiled(recognise.model, settings, "rec")
    pytorch.watch(settings, timer)
    detect.forward = mindee.timed(detect.forward, timer, "detect")
    recognise.forward = mindee.timed(recognise.forward, timer, "recognise")
    return predictor


def _model(part: mindee.Part, setting: Setting) -> Any:
    """What `ocr_predictor` takes: the name of an architecture, or one with the user's own weights."""
    name, own = mindee.chosen(_LIBRARY, part, setting)
    if own is None:
        return name
    from doctr import models

    model = getattr(getattr(models, part), name)(pretrained=False, pretrained_backbone=False)
    try:
        model.from_pretrained(str(own))
    except (RuntimeError, ValueError, UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UnsupportedError(f"doctr: {own} has no weights of {name}: {reason}") from error
    # The library does so with those that it loads itself.
    is_fast = isinstance(model, models.detection.FAST)
    return models.detection.fast.reparameterize(model) if is_fast else model


class _Reader:
    def __init__(self, predictor: Any, timer: StageTimer) -> None:
        self._words = mindee.WordReader(predictor, timer)

    def read(self, pages: Sequence[Page]) -> list[PageText]:
        """All pages in one call."""
        with pytorch.quiet(), pytorch.translated(_LIBRARY):
            return self._words.read(pages)
