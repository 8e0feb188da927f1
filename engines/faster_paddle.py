"""faster-paddle: the PP-OCRv6 pipeline in Rust, with ONNX Runtime inside (https://github.com/cnmoro/faster-paddle).

It takes encoded images only, so a page is handed over as an uncompressed bitmap: about 5 ms to write and
10 ms to read for an A4 page at 200 dpi, 1 to 2 % of the time that its text takes.
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from engines.interface import (
    Choice,
    Knob,
    Line,
    Machine,
    Ordered,
    Page,
    PageText,
    Settings,
    StageTimer,
    UnsupportedError,
)

_RESULTS = "structured_text row by row, text for prose in columns, bounds for boxes in the detector's order"


def summary() -> str:
    """What it is, with the licence of code and weights."""
    return "faster-paddle: PP-OCRv6 in Rust with ONNX Runtime inside (code MIT, weights Apache-2.0)"


def packages() -> tuple[str, ...]:
    """Distributions whose versions decide what it does."""
    return ("faster-paddle",)


def unusable(machine: Machine) -> str | None:
    """Why it cannot run here, None where it can."""
    del machine  # a CPU is enough
    if find_spec("faster_paddle") is None:
        return "the package faster-paddle is not installed; run `pip install 'ocr-tune[faster-paddle]'`"
    return None


def knobs(machine: Machine) -> tuple[Knob, ...]:
    """What can be set. The defaults are those of `OcrEngine`; 0 leaves a value to the library."""
    models = ("tiny", "small", "medium") if _medium_is_here() else ("tiny", "small")
    threads = Ordered((0, *range(1, machine.cores + 1)))
    max_side = Ordered((736, 960, 1120, 1280, 1600, 2000, 2560), low=32, high=4000)
    min_side = Ordered((0, 320, 480, 640, 736, 960), high=4000)
    batch = Ordered((1, 2, 4, 8, 16), high=256)
    width = Ordered((0, 64, 96, 160, 320), high=3200)
    result = Choice(("structured_text", "text", "bounds"))
    reads = partial(Knob, changes_text=True)
    return (
        reads("model", "pipeline", Choice(models), "tiny", "size of both models (model_size)"),
        Knob("threads", "pipeline", threads, 0, "threads in all; 0: one a physical core"),
        reads("det_max_side", "detect", max_side, 1600, "longest side, in pixels, that the detector sees"),
        reads("det_min_side", "detect", min_side, 736, "pages are enlarged to this short side; 0: never"),
        reads("rec_batch", "recognise", batch, 1, "most lines in one recognition batch"),
        reads(
            "rec_min_width",
            "recognise",
            width,
            0,
            "least padded width of a line in pixels; 0: the model's own",
        ),
        reads("text_from", "postprocess", result, "structured_text", "the result that is used: " + _RESULTS),
    )


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator["_Reader"]:
    """faster-paddle on the CPU. Nothing is downloaded."""
    if device != "cpu":
        raise UnsupportedError(f"faster_paddle runs on the device cpu only, not on {device!r}")
    if settings["model"] == "medium" and not _medium_is_here():
        raise UnsupportedError(
            "faster_paddle: the medium model is not on this machine; where the network allows, "
            "run `python -c \"import faster_paddle; faster_paddle.OcrEngine('medium')\"`"
        )
    import faster_paddle

    try:
        engine = faster_paddle.OcrEngine(
            model_size=settings["model"],
            threads=settings["threads"] or None,
            rec_batch=settings["rec_batch"],
            det_max_side=settings["det_max_side"],
            det_min_side=settings["det_min_side"],
            rec_min_width=settings["rec_min_width"] or None,
        )
    except ValueError as error:
        raise UnsupportedError(f"faster_paddle refuses these settings: {error}") from error
    yield _Reader(engine, str(settings["text_from"]), timer)


def _medium_is_here() -> bool:
    """Whether the one model that is not in the package lies where the library's download would put it."""
    if find_spec("faster_paddle") is None:
        return False
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "faster_paddle" / f"v{version('faster-paddle')}" / "medium"
    return all((folder / f"ppocrv6_medium_{part}.onnx").is_file() for part in ("det", "rec"))


class _Reader:
    def __init__(self, engine: Any, text_from: str, timer: StageTimer) -> None:
        self._engine = engine
        self._text_from = text_from
        self._timer = timer

    def read(self, pages: Sequence[Page]) -> list[PageText]:
        """All pages in one call, whose lines share the recognition workers."""
        with self._timer.stage("preprocess"):
            images = [_bitmap(page) for page in pages]
        with self._timer.stage("recognise"):  # detection is in the same call
            results = self._engine.ocr_batch(images, batch_size=max(1, len(images)))
        with self._timer.stage("postprocess"):
            return [PageText(tuple(self._lines(result))) for result in results]

    def _lines(self, result: Mapping[str, Any]) -> Iterator[Line]:
        if self._text_from != "bounds":
            yield from (Line(line) for line in result[self._text_from].splitlines() if line.strip())
            return
        for bound in result["bounds"].values():
            (left, top), (right, bottom) = bound["topLeftCoord"], bound["bottomRightCoord"]
            box = ((left, top), (right, top), (right, bottom), (left, bottom))
            yield Line(bound["text"], box, bound["confidence"])


def _bitmap(page: Page) -> bytes:
    file = io.BytesIO()
    Image.fromarray(page.pixels).save(file, "BMP")
    return file.getvalue()
