from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engines import ppocr
from engines.interface import Page, UnsupportedError
from engines.ppocr import calibration
from tests.engines.support import INVOICE, LETTER, drawn

PAGES = (drawn("letter", *LETTER), drawn("invoice", *INVOICE))
KNOB = "rec_calibration"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OCR_TUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_pages_that_were_kept_come_back_under_the_hash_of_their_pixels() -> None:
    kept = calibration.keep(PAGES)
    again = calibration.source(KNOB, kept)
    assert again.id == kept == calibration.keep(PAGES)
    for page, pixels in zip(PAGES, again.load(), strict=True):
        np.testing.assert_array_equal(page.pixels, pixels)


def test_one_pixel_makes_another_set() -> None:
    pixels = PAGES[0].pixels.copy()
    pixels[0, 0, 0] ^= 1
    sets = {
        calibration.keep(pages)
        for pages in (PAGES, PAGES[::-1], PAGES[:1], (replace(PAGES[0], pixels=pixels), PAGES[1]))
    }
    assert len(sets) == 4


def test_a_folder_of_the_same_images_is_the_same_set(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("no page")
    (tmp_path / "folder").mkdir()
    for number, page in enumerate(PAGES):
        Image.fromarray(page.pixels).save(tmp_path / f"page{number}.png")
    assert calibration.source(KNOB, str(tmp_path)).id == calibration.keep(PAGES)


def test_large_pages_are_kept_smaller_and_only_so_many() -> None:
    large = Page("large", np.full((300, 4000, 3), 255, np.uint8))
    kept = calibration.source(KNOB, calibration.keep([large] * 40)).load()
    assert [page.shape for page in kept] == [(150, 2000, 3)] * calibration.MAX_PAGES


def test_no_more_pages_are_drawn_than_are_kept() -> None:
    pages = iter([PAGES[0]] * (calibration.MAX_PAGES + 3))
    calibration.keep(pages)
    assert len(list(pages)) == 3


def test_the_engine_names_the_pages_that_it_kept() -> None:
    settings = ppocr.calibrate(PAGES)
    assert settings == dict.fromkeys(
        ("det_calibration", "rec_calibration"), calibration.identity([p.pixels for p in PAGES])
    )


def test_without_pages_it_is_said_what_to_set() -> None:
    with pytest.raises(UnsupportedError, match="set rec_calibration to a folder of page images"):
        calibration.source(KNOB, "none")


def test_pages_of_another_machine_are_named_with_what_to_copy(cache: Path) -> None:
    source = calibration.source(KNOB, "0123456789abcdef")
    with pytest.raises(UnsupportedError, match=f"copy {cache}/calibration/0123456789abcdef from the machine"):
        source.load()


@pytest.mark.parametrize(
    "setting", ["nonsuch", "../../0123456789abcdef", "0123456789ABCDEF", "0123456789abcdef\n"]
)
def test_what_is_neither_a_set_nor_a_folder_is_refused(setting: str) -> None:
    with pytest.raises(UnsupportedError, match="neither a folder of page images nor a calibration set"):
        calibration.source(KNOB, setting)


def test_pages_that_were_changed_are_refused_and_kept_anew_where_they_are_at_hand(cache: Path) -> None:
    kept = calibration.keep(PAGES)
    first = cache / "calibration" / kept / "000.png"
    for damage in (
        lambda: Image.new("RGB", (99, 99)).save(first),
        lambda: first.write_bytes(b"\x89PNG\r\n\x1a\n"),
    ):
        damage()
        with pytest.raises(UnsupportedError, match=r"were changed|cannot be read"):
            calibration.source(KNOB, kept).load()
        assert calibration.keep(PAGES) == kept
        assert len(calibration.source(KNOB, kept).load()) == 2


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="holds no page images"):
        calibration.source(KNOB, str(tmp_path))


def test_an_image_of_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (12_000, 12_000)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(
        UnsupportedError, match=r"huge.png cannot be read as a calibration page: 12000 x 12000"
    ):
        calibration.source(KNOB, str(tmp_path))


def test_the_recogniser_is_calibrated_on_the_lines_of_the_pages() -> None:
    tensors = calibration.inputs("rec", calibration.source(KNOB, calibration.keep(PAGES)))
    assert [tensor.shape[:3] for tensor in tensors] == [(1, 3, 48)] * len((*LETTER, *INVOICE))
    assert all(tensor.shape[3] % 32 == 0 for tensor in tensors)


def test_the_detector_is_calibrated_on_the_pages() -> None:
    tensors = calibration.inputs("det", calibration.source(KNOB, calibration.keep(PAGES)))
    assert [tensor.shape[:2] for tensor in tensors] == [(1, 3)] * len(PAGES)


def test_pages_without_text_calibrate_no_recogniser() -> None:
    blank = Page("blank", np.full((200, 200, 3), 255, np.uint8))
    with pytest.raises(UnsupportedError, match="no text was found on the pages of rec_calibration"):
        calibration.inputs("rec", calibration.source(KNOB, calibration.keep([blank])))
