"""PP-OCR with a runtime of its own choice for each stage."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from engines import pytorch
from engines.interface import Layer, Machine, Page, Reader, Settings, StageTimer, UnsupportedError
from engines.ppocr.download import fetch
from engines.ppocr.knobs import knobs
from engines.ppocr.models import checksums
from engines.ppocr.runtimes import RUNTIMES

__all__ = [
    "absent",
    "calibrate",
    "checksums",
    "fetch",
    "knobs",
    "layers",
    "open",
    "packages",
    "summary",
    "unusable",
]

_MODULES = {"rapidocr": "rapidocr", "onnxruntime": "onnxruntime", "openvino": "openvino", "cv2": "rapidocr"}


def summary() -> str:
    """One sentence: what it is, with the licence of code and weights."""
    return (
        "PP-OCR (detection, direction, recognition) on ONNX Runtime, OpenVINO, PyTorch or Paddle, chosen per stage; "
        "code and weights Apache-2.0"
    )


def packages() -> tuple[str, ...]:
    """Distributions whose versions decide what this engine does."""
    return (
        *("rapidocr", "onnxruntime", "onnxruntime-gpu", "openvino", "opencv-python-headless", "numpy"),
        *("nncf", "onnx", "torch", "transformers", "paddlepaddle", "paddlepaddle-gpu"),
    )


def unusable(machine: Machine) -> str | None:
    """None where it can run here, else the reason and the remedy in one sentence."""
    missing = sorted({package for module, package in _MODULES.items() if find_spec(module) is None})
    return f"not installed: {', '.join(missing)}; run `pip install {' '.join(missing)}`" if missing else None


def absent(machine: Machine) -> Mapping[str, str]:
    """Runtimes that cannot run here, with the reason and the remedy."""
    reasons = {name: runtime.absence(machine) for name, runtime in RUNTIMES.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def calibrate(pages: Iterable[Page]) -> Settings:
    """Keep sample pages, from which static int8 models are built; returns the settings that name them.

    Side effect: writes into the cache folder.
    """
    from engines.ppocr.calibration import keep

    kept = keep(pages)
    return {"det_calibration": kept, "rec_calibration": kept}


def layers(settings: Settings, device: str, pages: Sequence[Page], folder: Path) -> list[Layer]:
    """What each layer of the models took, as ONNX Runtime and OpenVINO time them; PyTorch has its own profiler.

    Side effect: ONNX Runtime leaves its traces in `folder`.
    """
    from engines.ppocr.runtimes import profiling

    # Batches at work at the same time would each be charged for the others.
    alone = {**settings, **({"rec_streams": 1} if "rec_streams" in settings else {})}
    with profiling(folder) as profiled, open(alone, device, StageTimer()) as reader:
        reader.read(pages)
        return [layer for name, session in profiled.sessions.items() for layer in session.layers(name)]


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator[Reader]:
    """Load the models of `settings` on `device`: "cpu", "cuda:N" with a runtime built for it, "mps" with PyTorch.

    Raises UnsupportedError where a model file is missing or the device is another one.
    """
    if not re.fullmatch(r"cpu|mps|cuda:\d+", device):
        raise UnsupportedError(f"ppocr does not run on {device}; choose --device cpu or cuda:0")
    import cv2

    from engines.ppocr.reader import PpocrReader

    threads = cv2.getNumThreads()
    if settings["det_threads"]:
        # OpenCV has a thread pool of its own, which would otherwise take every core for resizing.
        cv2.setNumThreads(int(settings["det_threads"]))
    try:
        reader = PpocrReader(settings, device, timer)
        pytorch.watch(settings, timer)
        yield reader
    finally:
        cv2.setNumThreads(threads)
