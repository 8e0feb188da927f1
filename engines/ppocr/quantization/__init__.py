"""Models in int8: built on this machine from the f32 model, kept in the cache.

`static` quantises weights and activations, whose ranges are measured on calibration pages; `dynamic` finds the
ranges of activations anew in each call. Neither is trusted: whether the text suffers is for the tuner to measure.
"""

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, Protocol

from engines.interface import (
    Choice,
    Knob,
    Ordered,
    OutOfMemoryError,
    Settings,
    Stage,
    StageTimer,
    UnsupportedError,
)
from engines.ppocr import artefacts
from engines.ppocr.quantization import onnx_qdq, openvino_nncf
from engines.ppocr.runtimes import Tensor, allocation_failures, device_of
from engines.weights import sha256_of

__all__ = ["BUILDERS", "knobs", "quantised"]


class Builder(Protocol):
    """The contents of a builder's module, one for each runtime that runs int8."""

    FILE: str
    """The name of the model file that is written."""
    PACKAGES: tuple[str, ...]
    """Distributions that build it: they are needed, and their versions belong to its identity."""
    METHOD: str
    """Names all that is decided in the code of this module; changes whenever the outcome would."""

    def dynamic(self, model: Path, target: Path) -> None:
        """Write the model at `model` to `target`, activations to be quantised in each call."""
        ...

    def static(self, model: Path, target: Path, inputs: Sequence[Tensor], float_layers: int) -> None:
        """Write the model at `model` to `target`, with the ranges of activations that `inputs` caused.

        The first `float_layers` convolutions and matrix products stay in float.
        """
        ...


BUILDERS: Mapping[str, Builder] = {"onnxruntime": onnx_qdq, "openvino": openvino_nncf}


def knobs(prefix: str, stage: Stage) -> Iterator[Knob]:
    """Precision of one stage; `prefix` begins the names."""
    yield Knob(
        f"{prefix}_quantization",
        stage,
        # Dynamic int8 is for matrix products with constant weights, and the detectors have none.
        Choice(("none", "dynamic", "static") if prefix == "rec" else ("none", "static")),
        "none",
        "int8: static measures ranges on calibration pages once, dynamic in each call",
        {f"{prefix}_runtime": tuple(BUILDERS)},
        changes_text=True,
    )
    yield Knob(
        f"{prefix}_float_layers",
        stage,
        # In v6_small the layers nearest to the pixels are the ones that int8 hurts: of the lines of scanned English
        # pages that it reads otherwise, its first 8 layers, a tenth of its multiply-adds, save four in ten, and no
        # later quarter of it more than one.
        Ordered((0, 4, 8, 16), low=0, high=256),
        8,
        "so many layers, counted from the pixels, are left out of static int8",
        {f"{prefix}_quantization": ("static",)},
        changes_text=True,
    )
    yield Knob(
        f"{prefix}_calibration",
        stage,
        Choice(("none",), open=True),
        "none",
        "pages for static int8: a folder of page images, or the set that `tune` kept",
        {f"{prefix}_quantization": ("static",)},
        changes_text=True,
    )


def quantised(
    stage: Literal["det", "rec"], model: Path, options: Settings, device: str, timer: StageTimer
) -> Path:
    """The file to open for `model` with the options of its stage: `model` itself, or its int8 artefact.

    Builds what is not in the cache yet, which takes from seconds to a minute and is the timer's stage `build`.
    Raises UnsupportedError where that cannot be done here, with the remedy.
    """
    method = str(options.get("quantization", "none"))
    if method == "none":
        return model
    device = device_of(options, device)
    if device != "cpu":
        raise UnsupportedError(f"int8 is for the CPU here; set {stage}_quantization=none on {device}")
    builder = BUILDERS[str(options["runtime"])]
    recipe = {
        "model": sha256_of(model),
        "method": f"{builder.METHOD} {method}",
        **{package: _version(package) for package in builder.PACKAGES},
    }
    if method == "dynamic":

        def build(target: Path) -> None:
            builder.dynamic(model, target)
    else:
        # It needs OpenCV, which is too heavy for naming knobs.
        from engines.ppocr import calibration

        pages = calibration.source(f"{stage}_calibration", str(options["calibration"]))
        recipe["calibration"] = pages.id
        float_layers = int(options["float_layers"])
        recipe["float_layers"] = str(float_layers)

        def build(target: Path) -> None:
            builder.static(model, target, calibration.inputs(stage, pages), float_layers)

    def guarded(folder: Path) -> None:
        with timer.stage("build"), _failures(f"{method} int8 of {model.name}"):
            build(folder / builder.FILE)

    return artefacts.obtain(recipe, guarded) / builder.FILE


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise UnsupportedError(
            f"int8 models are built with {package}: run `pip install {package}`"
        ) from error


@contextmanager
def _failures(what: str) -> Iterator[None]:
    """Other people's tools at work: they print, warn and raise as they like."""
    try:
        with allocation_failures(), redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (UnsupportedError, OutOfMemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UnsupportedError(f"{what} cannot be built: {reason}") from error
