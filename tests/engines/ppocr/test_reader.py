"""With its defaults the engine reads what RapidOCR reads, line by line."""

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines import ppocr
from engines.interface import OutOfMemoryError, Page, Setting, StageTimer, UnsupportedError
from engines.ppocr.ctc import Reading
from engines.ppocr.images import Pixels
from engines.ppocr.models import resolve
from engines.ppocr.reader import PpocrReader
from engines.ppocr.runtimes import open_session
from engines.ppocr.stages import Recogniser
from tests.engines.ppocr.support import stage_options
from tests.engines.support import MACHINE, complete, drawn, words

Parts = tuple[Page, Page, Page]


@pytest.fixture(scope="module")
def parts(real_pages: Path) -> Parts:
    """A receipt, the same upside down, and half a page of a book."""
    receipt = Image.open(real_pages / "sroie_receipts" / "045.jpg").convert("RGB")
    book = Image.open(real_pages / "oldbooks_en" / "a013.png").convert("RGB")
    total = receipt.crop((300, 530, 760, 860))
    images = (receipt.crop((250, 380, 850, 900)), total.rotate(180), book.crop((0, 200, 1850, 900)))
    first, second, third = (
        Page(str(index), np.ascontiguousarray(image)) for index, image in enumerate(images)
    )
    return first, second, third


def settings(**changes: Setting) -> dict[str, Setting]:
    return complete(ppocr.knobs(MACHINE), **changes)


def opened(**changes: Setting) -> PpocrReader:
    return PpocrReader(settings(**changes), "cpu", StageTimer())


@pytest.fixture(scope="module")
def shipped() -> Iterator[PpocrReader]:
    with ppocr.open(settings(), "cpu", StageTimer()) as reader:
        assert isinstance(reader, PpocrReader)
        yield reader


def test_the_defaults_read_what_rapidocr_reads(shipped: PpocrReader, parts: Parts) -> None:
    from rapidocr import RapidOCR

    peer: Any = RapidOCR(params={"Global.log_level": "critical"})
    for page in parts:
        theirs = peer(np.ascontiguousarray(page.pixels[:, :, ::-1]))
        (ours,) = shipped.lines([page])
        assert len(ours) > 3
        assert Counter(line.text for line in ours) == Counter(theirs.txts)
        boxes = np.array([line.box for line in ours], np.float32)
        np.testing.assert_allclose(boxes, theirs.boxes, atol=0.01)
        confidences = np.array([line.confidence for line in ours], np.float32)
        np.testing.assert_allclose(confidences, theirs.scores, atol=1e-4)


def test_pages_of_one_call_are_recognised_together_and_told_apart(
    shipped: PpocrReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = (("Total 99.50", "Paid by card"), (), ("The quick brown fox", "jumps over", "Thank you"))
    pages = [drawn(str(index), *lines) for index, lines in enumerate(texts)]
    calls: list[int] = []
    read = shipped._recogniser.read

    def counted(crops: list[Pixels]) -> list[Reading]:
        calls.append(len(crops))
        return read(crops)

    monkeypatch.setattr(shipped._recogniser, "read", counted)
    read_texts = [text.text for text in shipped.read(pages)]
    assert calls == [5]
    assert read_texts == ["\n".join(lines) for lines in texts]


def test_openvino_reads_what_onnx_runtime_reads(shipped: PpocrReader) -> None:
    page = drawn("page", "The quick brown fox", "jumps over the lazy dog")
    openvino = opened(det_runtime="openvino", rec_runtime="openvino", rec_streams=2)
    (ours,), (theirs,) = openvino.read([page]), shipped.read([page])
    assert ours.text == theirs.text == "The quick brown fox\njumps over the lazy dog"


def test_narrow_exact_batches_and_fast_crops_read_clear_text() -> None:
    page = drawn("page", "Total 99.50", "Paid by card", "Thank you")
    lean = opened(
        use_cls=False,
        det_side=640,
        det_limit_type="max",
        crop_mode="fast",
        rec_batch=1,
        rec_min_width=32,
        rec_width_bucket=32,
    )
    assert words(lean.read([page])[0].text) == "Total 99.50 Paid by card Thank you"


def test_the_next_page_is_detected_ahead_and_pages_keep_their_order(
    shipped: PpocrReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ("Total 99.50", "", "Paid by card", "Thank you")
    pages = [drawn(text, *([text] if text else [])) for text in texts]
    overlapped = opened(overlap=True)
    events: list[str] = []
    detect, read = overlapped._detect, overlapped._recogniser.read
    second = threading.Event()

    def detected(pixels: Pixels) -> Any:
        events.append(threading.current_thread().name[:6])
        if events.count("detect") == 2:
            second.set()
        return detect(pixels)

    def recognised(crops: list[Pixels]) -> list[Reading]:
        assert second.wait(60)  # the second page is begun before the first is read
        assert events.count("detect") <= events.count("read") + 2
        events.append("read")
        return read(crops)

    monkeypatch.setattr(overlapped, "_detect", detected)
    monkeypatch.setattr(overlapped._recogniser, "read", recognised)
    assert [page.text for page in overlapped.read(pages)] == list(texts)
    assert sorted(events) == ["detect"] * 4 + ["read"] * 4
    assert list(overlapped.read([])) == []


def test_memory_that_runs_out_in_the_thread_that_detects_is_reported_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overlapped = opened(overlap=True)

    def exhausted(pixels: Pixels) -> Any:
        raise MemoryError

    monkeypatch.setattr(overlapped, "_detect", exhausted)
    with pytest.raises(OutOfMemoryError):
        overlapped.read([drawn("page", "Total"), drawn("other", "Total")])


def test_blank_paper_is_skipped_and_boxes_stay_in_page_pixels(shipped: PpocrReader) -> None:
    page = drawn("page", "Total 99.50", "Thank you", size=(1200, 900))
    dark = Page("dark", 255 - page.pixels)
    skipping = opened(skip_empty=True)
    for full in (page, dark):
        (ours,), (theirs,) = skipping.lines([full]), shipped.lines([full])
        assert [line.text for line in ours] == [line.text for line in theirs] == ["Total 99.50", "Thank you"]
        boxes = [np.array([line.box for line in lines]) for lines in (ours, theirs)]
        np.testing.assert_allclose(boxes[0], boxes[1], atol=12)


def test_blank_pages_are_not_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    skipping = opened(skip_empty=True)
    monkeypatch.delattr(skipping._detector, "_session")
    assert skipping.read([drawn("blank")])[0].lines == ()


def test_without_the_classifier_lines_stay_on_their_head(shipped: PpocrReader) -> None:
    page = drawn("page", "The quick brown fox", "jumps over the lazy dog")
    upside_down = Page("down", np.ascontiguousarray(page.pixels[::-1, ::-1]))
    assert "The quick brown fox" in shipped.read([upside_down])[0].text
    assert "fox" not in opened(use_cls=False).read([upside_down])[0].text


def test_a_stricter_score_drops_lines(shipped: PpocrReader, parts: Parts) -> None:
    (kept,) = shipped.lines(parts[1:2])
    (strict,) = opened(text_score=0.99).lines(parts[1:2])
    assert [line.text for line in strict] == [line.text for line in kept if (line.confidence or 0) >= 0.99]
    assert 0 < len(strict) < len(kept)


def test_models_may_be_given_as_paths() -> None:
    page = drawn("page", "Hello world")
    paths = {stage: str(resolve(stage, "v6_small")) for stage in ("det", "rec")}
    assert opened(det_model=paths["det"], rec_model=paths["rec"]).read([page])[0].text == "Hello world"


def test_a_list_of_characters_of_another_model_is_refused() -> None:
    session = open_session(resolve("rec", "v6_small"), stage_options(runtime="onnxruntime", threads=1), "cpu")
    recogniser = Recogniser(session, ["a", "b", "c"], batch=1, min_width=32, width_bucket=1)
    with pytest.raises(UnsupportedError, match=r"18710 classes .* has 5: give the list that belongs"):
        recogniser.read([drawn("page", "Hello").pixels])


@pytest.mark.parametrize("device", ["abacus:7", "cuda", "cuda:x", "CPU"])
def test_other_devices_are_refused(device: str) -> None:
    with (
        pytest.raises(UnsupportedError, match=f"{device}; choose --device"),
        ppocr.open(settings(), device, StageTimer()),
    ):
        pass
