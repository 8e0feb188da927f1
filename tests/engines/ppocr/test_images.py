"""RapidOCR's own pre-processing is the oracle: the same pixels must give the same tensors, bit for bit."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rapidocr.ch_ppocr_cls.main import TextClassifier
from rapidocr.ch_ppocr_det.utils import DetPreProcess
from rapidocr.ch_ppocr_rec.main import TextRecognizer
from rapidocr.utils.process_img import get_rotate_crop_image

from engines.ppocr.images import Pixels, canvas, crop, detection_input, inked, line_batch


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(len(shape)).integers(0, 256, shape, np.uint8)


def bgr(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels[:, :, ::-1])


def quad(*corners: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(corners, np.float32)


@pytest.mark.parametrize(
    ("size", "side", "limit"),
    [((300, 500), 736, "min"), ((900, 700), 736, "min"), ((900, 700), 640, "max"), ((64, 96), 960, "max")],
)
def test_detection_input_is_rapidocrs(size: tuple[int, int], side: int, limit: str) -> None:
    page = noise(*size, 3)
    ours, theirs = detection_input(page, side, limit), DetPreProcess(side, limit)(bgr(page))
    assert ours is not None
    assert theirs is not None
    assert np.array_equal(ours, theirs)


def test_a_batch_of_lines_is_rapidocrs() -> None:
    recogniser = TextRecognizer.__new__(TextRecognizer)
    recogniser.rec_image_shape = [3, 48, 320]
    lines = [noise(31, 100, 3), noise(20, 199, 3), noise(60, 33, 3)]
    widest = max(320 / 48, 199 / 20)
    expected = [recogniser.resize_norm_img(bgr(line), widest) for line in lines]
    assert np.array_equal(line_batch(lines, int(48 * widest)), expected)


def test_lines_for_the_direction_classifier_are_rapidocrs() -> None:
    classifier = TextClassifier.__new__(TextClassifier)
    classifier.cls_image_shape = [3, 48, 192]
    lines = [noise(31, 300, 3), noise(50, 60, 3)]
    expected = [classifier.resize_norm_img(bgr(line)) for line in lines]
    assert np.array_equal(line_batch(lines, 192), expected)


def test_lines_that_are_views_turned_around_are_read_like_copies() -> None:
    line = noise(30, 90, 3)[::-1, ::-1]
    assert np.array_equal(line_batch([line], 160), line_batch([line.copy()], 160))


@pytest.mark.parametrize(
    "corners",
    [
        quad((10, 20), (110, 20), (110, 50), (10, 50)),
        quad((40, 5), (60, 5), (60, 95), (40, 95)),
        quad((12, 20), (108, 31), (106, 58), (9, 47)),
        quad((0, 0), (119, 0), (119, 99), (0, 99)),
    ],
    ids=["upright", "on its side", "tilted", "whole page"],
)
def test_exact_crops_are_rapidocrs(corners: NDArray[np.float32]) -> None:
    page = noise(100, 120, 3)
    assert np.array_equal(crop(page, corners, "exact"), get_rotate_crop_image(page, corners.copy()))


def test_fast_crops_of_almost_upright_boxes_are_views_of_the_page() -> None:
    page = noise(100, 120, 3)
    corners = quad((10, 20), (110, 22), (110, 52), (10, 50))
    fast = crop(page, corners, "fast")
    assert np.shares_memory(fast, page)
    assert np.array_equal(fast, page[20:52, 10:110])


def test_fast_crops_of_tilted_boxes_are_rectified() -> None:
    page = noise(100, 120, 3)
    corners = quad((12, 20), (108, 31), (106, 58), (9, 47))
    assert np.array_equal(crop(page, corners, "fast"), crop(page, corners, "exact"))


def test_a_large_page_is_made_smaller_and_its_boxes_are_put_back() -> None:
    page = Image.new("RGB", (3000, 1500), "white")
    ImageDraw.Draw(page).text((600, 700), "X", fill="black", font=ImageFont.load_default(size=200))
    ink = np.argwhere(np.asarray(page)[:, :, 0] < 128)
    drawn = canvas(np.asarray(page), max_side=1000)
    assert drawn is not None
    assert max(drawn.pixels.shape) <= 1000 + 16
    small = np.argwhere(drawn.pixels[:, :, 0] < 128)
    (top, left), (bottom, right) = small.min(axis=0), small.max(axis=0) + 1
    box = quad((left, top), (right, top), (right, bottom), (left, bottom))
    restored = drawn.to_page(box[None])[0]
    assert np.abs(restored.min(axis=0) - ink.min(axis=0)[::-1]).max() < 8
    assert np.abs(restored.max(axis=0) - ink.max(axis=0)[::-1]).max() < 8


def test_a_banner_is_padded_and_its_boxes_are_put_back() -> None:
    drawn = canvas(np.full((60, 1200, 3), 255, np.uint8), max_side=2000)
    assert drawn is not None
    added = (drawn.pixels.shape[0] - 60) // 2
    assert added > 0
    box = quad((10, added), (90, added), (90, added + 60), (10, added + 60))
    assert drawn.to_page(box[None])[0].tolist() == [[10, 0], [90, 0], [90, 60], [10, 60]]


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (5000, 3)])
def test_pages_too_thin_for_text_are_left_out(size: tuple[int, int]) -> None:
    assert canvas(np.zeros((*size, 3), np.uint8), max_side=2000) is None


@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (20, 240), (128, 145), (128, 110)])
def test_what_differs_from_the_paper_is_kept_with_a_margin_on_light_and_dark_pages(
    paper: int, ink: int
) -> None:
    page = np.full((400, 300, 3), paper, np.uint8)
    page[100:120, 80:90] = ink
    page[300, 200] = ink
    assert inked(page) == (slice(68, 333), slice(48, 233))


def test_the_margin_ends_at_the_edge_of_the_page() -> None:
    page = np.full((60, 80, 3), 255, np.uint8)
    page[5, 70] = 0
    assert page[inked(page)].shape == (38, 42, 3)


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_a_page_of_one_colour_or_of_faint_grain_is_blank(grey: int) -> None:
    grain = np.random.default_rng(0).integers(0, 5, (200, 200, 1))
    page = np.clip(grey + grain - 2, 0, 255).astype(np.uint8).repeat(3, axis=2)
    assert inked(page) is None
