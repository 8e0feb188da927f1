"""From page pixels to model input: resizing, cropping and normalisation without a needless copy.

Pixels stay RGB until the tensor is filled; the models were trained on BGR.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rapidocr.ch_ppocr_det.utils import DetPreProcess
from rapidocr.utils.process_img import (
    apply_vertical_padding,
    get_rotate_crop_image,
    map_boxes_to_original,
    resize_image_within_bounds,
)

Pixels = NDArray[np.uint8]
Quads = NDArray[np.float32]
"""Boxes of shape (N, 4, 2): corners clockwise from the top left of the text."""

LINE_HEIGHT = 48
_MIN_SIDE = 30
_LEGIBLE_SIDE = 16
_BANNER_RATIO = 8
_SLACK = 0.1
"""Of the shorter side of a box: lines this far from upright are read as well without being rectified."""
_FAINTEST = 16
"""Levels of grey, of 255, by which text differs from paper at least."""
_INK_MARGIN = 32
"""Pixels kept around all ink: the detector looks at what surrounds a line."""
_BYTES = np.arange(256, dtype=np.float32)
# The same operations in the same order as RapidOCR's, so that the inputs are the same to the last bit:
# detection computes in float64, recognition in float32.
_DETECTION_VALUES = ((_BYTES * (1 / 255.0) - np.array(0.5)) / np.array(0.5)).astype(np.float32)
_LINE_VALUES = ((_BYTES / 255 - np.float32(0.5)) / np.float32(0.5)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Canvas:
    """The image that a page is read from: the page itself, smaller where it is large, padded where flat."""

    pixels: Pixels
    page_height: int
    page_width: int
    changes: dict[str, Any]

    def to_page(self, quads: Quads) -> Quads:
        """The same boxes in page pixels."""
        on_page: Quads = map_boxes_to_original(quads.copy(), self.changes, self.page_height, self.page_width)
        return on_page


def canvas(page: Pixels, max_side: int) -> Canvas | None:
    """Bound the sides of a page of shape (H, W, 3). None where it is too thin for a line of text."""
    height, width = page.shape[:2]
    # Sides are rounded to multiples of 32: one that is no longer than this would vanish.
    if int(min(height, width) * min(1.0, max_side / max(height, width))) <= _LEGIBLE_SIDE:
        return None
    pixels, ratio_h, ratio_w = resize_image_within_bounds(page, _MIN_SIDE, max_side)
    changes = {"preprocess": {"ratio_h": ratio_h, "ratio_w": ratio_w}}
    pixels, changes = apply_vertical_padding(pixels, changes, _BANNER_RATIO, _MIN_SIDE)
    return Canvas(pixels, height, width, changes)


def inked(pixels: Pixels) -> tuple[slice, slice] | None:
    """The rows and columns that hold whatever differs from the paper, None where nothing does.

    Paper is the most frequent grey, be it light or dark. A speck counts as ink: text is never cut off for it.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    paper = int(cv2.calcHist([grey], [0], None, [256], [0, 256]).argmax())
    # The difference keeps within bytes whichever of the two is larger.
    ink = cv2.absdiff(grey, np.full_like(grey, paper)) >= _FAINTEST
    left, top, width, height = cv2.boundingRect(ink.view(np.uint8))
    if not width:
        return None
    return (
        slice(max(top - _INK_MARGIN, 0), top + height + _INK_MARGIN),
        slice(max(left - _INK_MARGIN, 0), left + width + _INK_MARGIN),
    )


def detection_input(pixels: Pixels, side: int, limit_type: str) -> NDArray[np.float32] | None:
    """A tensor of shape (1, 3, H, W) with H and W multiples of 32. None where a side would vanish."""
    resized = DetPreProcess(side, limit_type).resize(pixels)
    if resized is None:
        return None
    tensor = np.empty((1, 3, *resized.shape[:2]), np.float32)
    _fill(tensor[0], resized, _DETECTION_VALUES)
    return tensor


def crop(pixels: Pixels, quad: NDArray[np.float32], mode: str) -> Pixels:
    """The text inside one box, upright: a view of `pixels` where that is enough, else rectified.

    `fast` also takes the bounding rectangle of a box that is almost upright.
    """
    left, top = quad.min(axis=0)
    right, bottom = quad.max(axis=0)
    upright = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    slack = 0.0 if mode == "exact" else _SLACK * min(right - left, bottom - top)
    if np.abs(quad - upright).max() > slack:
        rectified: Pixels = get_rotate_crop_image(pixels, quad)
        return rectified
    region = pixels[int(top) : int(bottom), int(left) : int(right)]
    # As in get_rotate_crop_image: such a box holds text that runs from bottom to top.
    return np.rot90(region) if region.shape[0] / region.shape[1] >= 1.5 else region


def line_width(ratio: float) -> int:
    """Width in pixels of a line of that ratio of width to height, once it is LINE_HEIGHT high."""
    return math.ceil(LINE_HEIGHT * ratio)


def line_batch(crops: list[Pixels], width: int) -> NDArray[np.float32]:
    """A tensor of shape (N, 3, LINE_HEIGHT, width): lines at the left, zeros beyond them."""
    tensor = np.zeros((len(crops), 3, LINE_HEIGHT, width), np.float32)
    for line, pixels in zip(tensor, crops, strict=True):
        height, length = pixels.shape[:2]
        resized: Any = cv2.resize(pixels, (min(line_width(length / height), width), LINE_HEIGHT))
        _fill(line[:, :, : resized.shape[1]], resized, _LINE_VALUES)
    return tensor


def _fill(tensor: NDArray[np.float32], pixels: Pixels, values: NDArray[np.float32]) -> None:
    """Write RGB `pixels` (H, W, 3) as BGR planes into `tensor` (3, H, W), each byte through `values`."""
    for channel, plane in enumerate(cv2.split(pixels)):
        cv2.LUT(plane, values, dst=tensor[2 - channel])
