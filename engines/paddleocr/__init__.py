"""PaddleOCR 3 as its authors document it: https://www.paddleocr.ai (pipelines PP-OCR and PP-StructureV3)."""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from engines.interface import Machine, Reader, Settings, StageTimer, UnsupportedError
from engines.paddleocr.download import fetch
from engines.paddleocr.knobs import STRUCTURE, arguments, knobs
from engines.paddleocr.models import default, here

__all__ = ["fetch", "knobs", "open", "packages", "summary", "unusable"]

_RUNTIMES = {"paddle": "paddle", "onnxruntime": "onnxruntime", "transformers": "transformers"}


def summary() -> str:
    """One sentence: what it is, with the licence of code and weights."""
    return "PaddleOCR: PP-OCR and PP-StructureV3 on one of three runtimes (code and weights Apache-2.0)"


def packages() -> tuple[str, ...]:
    """Distributions whose versions decide what it does."""
    return (
        "paddleocr",
        "paddlex",
        "paddlepaddle",
        "paddlepaddle-gpu",
        "onnxruntime",
        "transformers",
        "numpy",
    )


def unusable(machine: Machine) -> str | None:
    """None where it can run here, else the reason and the remedy in one sentence."""
    del machine  # a CPU is enough
    if missing := [name for name in ("paddleocr", "paddle") if find_spec(name) is None]:
        return (
            f"the module {missing[0]} is not installed; run `pip install 'ocr-tune[paddle]'`, best in an environment "
            "of its own"
        )
    if absent := [default(part) for part in ("det", "rec") if here(default(part)) is None]:
        return (
            f"weights of {' and '.join(absent)} are not on this machine; run `tune engines --fetch paddleocr`"
        )
    return None


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator[Reader]:
    """Load the models of `settings` on `device`: "cpu" or, with Paddle's CUDA build, "cuda:N".

    Nothing is downloaded. Raises UnsupportedError where a model, a package or the device is missing.
    """
    if not re.fullmatch(r"cpu|cuda:\d+", device):
        raise UnsupportedError(f"paddleocr does not run on {device}; choose --device cpu or cuda:0")
    runtime = _RUNTIMES[str(settings["engine"])]
    if find_spec(runtime) is None:
        raise UnsupportedError(f"engine={settings['engine']} needs a package; run `pip install {runtime}`")
    chosen = arguments(settings, device)
    os.environ.setdefault(
        "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True"
    )  # every folder is named: no hub is asked
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of compilers that it might use one day
        import paddleocr

        from engines.paddleocr.reader import PaddleReader

        structure = settings["pipeline"] == STRUCTURE
        pipeline = (paddleocr.PPStructureV3 if structure else paddleocr.PaddleOCR)(**chosen)
    moved = bool(settings["use_doc_orientation_classify"] or settings["use_doc_unwarping"])
    try:
        yield PaddleReader(pipeline, timer, structure=structure, boxes_fit=not moved)
    finally:
        pipeline.close()
