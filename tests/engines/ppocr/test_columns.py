"""Lines that a detector joined across a gutter come apart; everything else stays as it was found."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.ppocr.columns import split_at_gutters
from engines.ppocr.images import Pixels, Quads

HEIGHT = 30
PITCH = 40
LEFT = (100, 500)
RIGHT = (530, 930)
MARGIN = 15
"""Detectors draw boxes this far beyond the text."""

Span = tuple[int, int]


def page(rows: Sequence[Sequence[Span]], boxes: Sequence[Sequence[Span]]) -> tuple[Pixels, Quads]:
    """Words of ink in each row's spans, and one box for each of its boxes."""
    random = np.random.default_rng(0)
    pixels = np.full((PITCH * len(rows) + 200, 1000, 3), 250, np.uint8)
    quads = []
    for number, (spans, found) in enumerate(zip(rows, boxes, strict=True)):
        top = 80 + PITCH * number
        for begin, end in spans:
            x = begin
            while x < end:
                stop = min(x + int(random.integers(20, 90)), end)
                pixels[top + 4 : top + HEIGHT - 4, x:stop:4] = random.integers(0, 80)
                x = stop + 9
        quads += [box(begin - MARGIN, top, end + MARGIN) for begin, end in found]
    return pixels, np.array(quads, np.float32)


def box(begin: float, top: float, end: float) -> list[list[float]]:
    return [[begin, top], [end, top], [end, top + HEIGHT], [begin, top + HEIGHT]]


def spans(quads: Quads) -> list[tuple[int, int]]:
    return [(round(float(quad[:, 0].min())), round(float(quad[:, 0].max()))) for quad in quads]


BOTH = (LEFT[0], RIGHT[1])
APART = [LEFT, RIGHT]


def test_joined_lines_are_cut_in_the_gutter_and_no_box_reaches_beyond_it() -> None:
    pixels, quads = page([APART] * 12, [[BOTH], APART, APART] * 4)
    cut = spans(split_at_gutters(pixels, quads))
    assert len(cut) == 24
    assert all(end <= 530 for begin, end in cut if begin < 300)
    assert all(begin >= 500 for begin, end in cut if end > 700)


def test_a_page_that_is_not_quite_upright_is_cut_along_its_gutter() -> None:
    pixels, quads = page([APART] * 20, [[BOTH], APART] * 10)
    turn = cv2.getRotationMatrix2D((500, 500), 1.0, 1.0)
    turned = cv2.warpAffine(pixels, turn, (1000, pixels.shape[0]), borderValue=(250, 250, 250))
    rotated = cv2.transform(quads, turn).astype(np.float32)
    assert len(split_at_gutters(np.asarray(turned, np.uint8), rotated)) == 40


def test_a_heading_over_both_columns_stays_whole() -> None:
    pixels, quads = page([[BOTH], *[APART] * 9], [[BOTH], *[[BOTH], APART, APART] * 3])
    cut = spans(split_at_gutters(pixels, quads))
    assert cut[0] == (LEFT[0] - MARGIN, RIGHT[1] + MARGIN)
    assert len(cut) == 19


@pytest.mark.parametrize(
    ("rows", "boxes"),
    [
        pytest.param([[BOTH]] * 12, [[BOTH]] * 12, id="prose in one column"),
        pytest.param([[(100, 112), (150, 930)]] * 12, [[BOTH]] * 12, id="bullets"),
        pytest.param([APART] * 4, [[BOTH]] * 4, id="too few lines"),
        pytest.param([[BOTH], *[APART] * 9], [[BOTH], *[APART] * 9], id="columns found apart"),
        pytest.param([], [], id="an empty page"),
    ],
)
def test_nothing_else_is_cut(rows: list[list[Span]], boxes: list[list[Span]]) -> None:
    pixels, quads = page(rows, boxes)
    quads = quads.reshape(-1, 4, 2)
    assert len(split_at_gutters(pixels, quads)) == len(quads)


def test_lines_that_run_from_top_to_bottom_are_left_alone() -> None:
    pixels, quads = page([APART] * 12, [[BOTH]] * 12)
    upright: NDArray[np.float32] = np.array([[[520, 60], [520, 600], [500, 600], [500, 60]]], np.float32)
    cut = split_at_gutters(pixels, np.concatenate([quads, upright]))
    assert len(cut) == 25
    np.testing.assert_array_equal(cut[-1], upright[0])
