"""marker: documents to Markdown, with surya's models beneath it (https://github.com/datalab-to/marker).

Until surya 0.18 its models run in this process; since then it asks servers, one of which serves a language model.
Which settings a version has is read from its source. Without surya's weights marker 2.0 still converts text layers.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines import pytorch
from engines.interface import Machine, Settings, StageTimer, UnsupportedError
from engines.marker import checkpoints, versions
from engines.marker.knobs import configuration, environment, knobs

if TYPE_CHECKING:
    from engines.marker.reader import MarkerReader

__all__ = ["fetch", "knobs", "open", "packages", "summary", "unusable"]

_REMEDY = "run `tune engines --fetch marker` where the network allows"


def summary() -> str:
    """What it is and what of it is here, with the licence of code and weights."""
    licence = (
        "code Apache-2.0 since 2.0, GPL-3.0 before; weights OpenRAIL-M: research, personal use and small companies "
        "only, commercial use beyond that needs a licence of Datalab"
    )
    reads = "marker: documents to Markdown by surya's models"
    if versions.installed() and versions.serves_language_model() and (absent := checkpoints.missing()):
        reads += (
            f", here from the text layers of PDFs only: weights {', '.join(absent)} are missing; {_REMEDY}"
        )
    return f"{reads} ({licence})"


def packages() -> tuple[str, ...]:
    """Distributions whose versions decide what it does."""
    return ("marker-pdf", "surya-ocr", "pdftext", "torch", "transformers")


def unusable(machine: Machine) -> str | None:
    """Why it cannot run here, None where it can. Without weights marker 2.0 converts text layers of PDFs."""
    del machine  # a CPU is enough
    if versions.installed():
        # Before 2.0 its models are loaded and asked whatever is switched off.
        absent = () if versions.serves_language_model() else checkpoints.missing()
        return (
            f"weights of marker are not on this machine: {', '.join(absent)}; {_REMEDY}" if absent else None
        )
    return (
        "the package marker-pdf is not installed; run `pip install marker-pdf` in an environment of its own"
    )


def fetch() -> Iterator[str]:
    """Bring surya's weights from its hubs. Raises UnsupportedError where they cannot be reached."""
    if not versions.installed():
        raise UnsupportedError("marker is not installed; run `pip install marker-pdf`")
    yield from checkpoints.fetch()


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator["MarkerReader"]:
    """marker on `device` ("cpu", "cuda:0", "mps", ...). Nothing is downloaded.

    Side effect: sets environment variables until it is closed. Raises UnsupportedError where weights are missing.
    """
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise UnsupportedError(f"marker does not run on {device!r}; choose --device cpu or cuda:0")
    modelless = versions.serves_language_model() and not settings["ocr"] and settings["layout"] == "none"
    if not modelless and (absent := checkpoints.missing()):
        raise UnsupportedError(
            f"weights of marker are not on this machine: {', '.join(absent)}; {_REMEDY}, "
            "or set layout=none and ocr=false to convert text layers of PDFs"
        )
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as home, _variables(settings, device, home):
        from engines.marker.reader import MarkerReader

        with pytorch.quiet(), pytorch.translated("marker"):
            models = _models(settings, device)
        service = str(settings["llm_service"]) if settings["use_llm"] else None
        try:
            yield MarkerReader(models, configuration(settings), service, timer)
        finally:
            if manager := models.get("inference_manager"):
                manager.stop()


def _models(settings: Settings, device: str) -> dict[str, Any]:
    import torch
    from marker.models import create_model_dict
    from marker.settings import settings as own

    if not Path(own.FONT_PATH).exists():
        # It would be downloaded, to draw office documents and pictures for debugging; here nothing is drawn.
        own.FONT_PATH = own.BASE_DIR
    dtype = settings.get("precision", "auto")
    held = not versions.serves_language_model() and dtype != "auto"
    return dict(create_model_dict(device=device, dtype=getattr(torch, str(dtype)) if held else None))


@contextmanager
def _variables(settings: Settings, device: str, home: str) -> Iterator[None]:
    """Settings of surya, and servers of its own.

    surya attaches to servers that it finds noted in the home folder; those of an earlier variant have its settings.
    """
    cache = str(Path.home() / ".cache" / "huggingface")
    before = dict(os.environ)
    os.environ.update(environment(settings, device))
    os.environ.setdefault("HF_HOME", cache)
    os.environ.setdefault("DOCKER_HF_CACHE_PATH", cache)
    os.environ.setdefault("MODEL_CACHE_DIR", str(checkpoints.model_cache()))
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HOME"] = home
    try:
        yield
    finally:
        for name in {*os.environ} - {*before}:
            del os.environ[name]
        os.environ.update(before)
