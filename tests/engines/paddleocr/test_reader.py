"""The adapter against the library itself, on the runtimes that read the same files."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import jiwer
import numpy as np
import pytest

from engines import paddleocr as adapter
from engines.interface import OutOfMemoryError, Page, StageTimer, UnsupportedError
from engines.paddleocr.models import resolve
from tests.engines.support import INVOICE, LETTER, MACHINE, complete, drawn, loaded, read

_REASON = adapter.unusable(MACHINE)
pytestmark = [
    pytest.mark.skipif(_REASON is not None, reason=str(_REASON)),
    pytest.mark.filterwarnings("ignore"),
]
# oneDNN crashes on some processors, so Paddle's own kernels stand for the runtime that the library ships.
RUNTIMES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "paddle": ({"onednn": False, "cpu_threads": 2}, {"enable_mkldnn": False, "cpu_threads": 2}),
    "onnxruntime": ({"engine": "onnxruntime"}, {"engine": "onnxruntime"}),
}


@pytest.fixture
def library(request: pytest.FixtureRequest) -> Iterator[Any]:
    """PaddleOCR as a script of a few lines would open it."""
    os.environ.setdefault("PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK", "True")
    from paddleocr import PaddleOCR

    ocr = PaddleOCR(
        text_detection_model_name="PP-OCRv5_mobile_det",
        text_detection_model_dir=str(resolve("PP-OCRv5_mobile_det")),
        text_recognition_model_name="PP-OCRv5_mobile_rec",
        text_recognition_model_dir=str(resolve("PP-OCRv5_mobile_rec")),
        use_doc_orientation_classify=False,
        use_doc_unwarping=False,
        use_textline_orientation=False,
        device="cpu",
        **RUNTIMES[request.param][1],
    )
    yield ocr
    ocr.close()


@pytest.mark.parametrize(
    ("library", "settings"), [(name, ours) for name, (ours, _) in RUNTIMES.items()], indirect=["library"]
)
def test_the_adapter_reads_what_the_library_reads_from_the_file(
    library: Any, settings: dict[str, Any], receipt: Path
) -> None:
    (theirs,) = library.predict(str(receipt))
    (ours,) = read("paddleocr", [loaded(receipt)], **settings)
    assert len(ours.lines) > 10
    assert [line.text for line in ours.lines] == [text for text in theirs["rec_texts"] if text.strip()]
    boxes = [
        poly.tolist()
        for text, poly in zip(theirs["rec_texts"], theirs["rec_polys"], strict=True)
        if text.strip()
    ]
    assert [[list(corner) for corner in line.box or ()] for line in ours.lines] == boxes


@pytest.mark.parametrize(
    ("library", "settings"), [("onnxruntime", RUNTIMES["onnxruntime"][0])], indirect=["library"]
)
def test_the_error_rate_is_that_of_the_library(
    library: Any, settings: dict[str, Any], real_pages: Path
) -> None:
    folder = real_pages / "sroie_receipts"
    images = sorted(folder.glob("*.jpg"))[:3]
    truth = [image.with_suffix(".txt").read_text(encoding="utf-8") for image in images]
    # Both sides see the same pixels: OpenCV and Pillow decode a JPEG in slightly different ways.
    decoded = [cv2.cvtColor(loaded(image).pixels, cv2.COLOR_RGB2BGR) for image in images]
    theirs = ["\n".join(filter(str.strip, library.predict(pixels)[0]["rec_texts"])) for pixels in decoded]
    ours = [text.text for text in read("paddleocr", [loaded(image) for image in images], **settings)]
    assert 0 < jiwer.cer(truth, ours) < 0.9
    assert jiwer.cer(truth, ours) == jiwer.cer(truth, theirs)


def test_no_two_predictions_run_at_once_on_one_pipeline() -> None:
    engine_settings = complete(adapter.knobs(MACHINE), engine="onnxruntime")
    with adapter.open(engine_settings, "cpu", StageTimer()) as reader:
        running: list[int] = []
        inner: Any = reader
        predict = inner._predict

        def watched(images: Any) -> Any:
            running.append(1)
            assert len(running) == 1
            try:
                return predict(images)
            finally:
                running.pop()

        inner._predict = watched
        pages = [drawn("letter", *LETTER), drawn("invoice", *INVOICE)] * 2
        with ThreadPoolExecutor(4) as pool:
            texts = list(pool.map(lambda page: reader.read([page])[0].text, pages))
    assert texts == ["\n".join(LETTER), "\n".join(INVOICE)] * 2


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("ResourceExhaustedError: 2 GB"),
        RuntimeError("(ResourceExhausted) Out of memory error on GPU 0."),
    ],
)
def test_memory_that_runs_out_asks_for_smaller_calls(error: Exception) -> None:
    with adapter.open(complete(adapter.knobs(MACHINE), engine="onnxruntime"), "cpu", StageTimer()) as reader:
        inner: Any = reader

        def predict(images: Any) -> Any:
            raise error

        inner._pipeline.predict = predict
        with pytest.raises(OutOfMemoryError):
            reader.read([Page("p", np.zeros((32, 32, 3), np.uint8))])


def test_a_runtime_that_is_not_installed_is_refused() -> None:
    if find_spec("transformers") is not None:
        pytest.skip("transformers is installed")
    with (
        pytest.raises(UnsupportedError, match="pip install transformers"),
        adapter.open(complete(adapter.knobs(MACHINE), engine="transformers"), "cpu", StageTimer()),
    ):
        pass
