"""What scanners, copiers and telephones do to a page, with the boxes moved along."""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from engines.interface import Line
from harness.data.refs import box

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import asks the network for a newer version
import albumentations as A  # noqa: N812 - the name that its documentation uses
import cv2

_COARSE = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
"""How fewer pixels than the page needs are made of it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image file with what is written on it."""

    data: bytes
    suffix: str
    lines: tuple[Line, ...]


def clean(image: Image.Image, lines: Sequence[Line], rng: random.Random) -> Encoded:
    """As the printer got it: a lossless gray or colour file."""
    return _png(image if rng.random() < 0.5 else image.convert("L"), lines)


def scan(image: Image.Image, lines: Sequence[Line], rng: random.Random) -> Encoded:
    """A good flatbed scan: gray, slightly turned and soft, a little noise."""
    steps = [
        A.Affine(rotate=(-0.4, 0.4), fill=255, p=1),
        A.GaussianBlur(sigma_limit=(0.4, 0.7), blur_limit=0, p=1),
        A.RandomBrightnessContrast(brightness_limit=(-0.06, 0.02), contrast_limit=(-0.12, 0.0), p=1),
        A.GaussNoise(std_range=(0.008, 0.02), p=1),
    ]
    pixels, moved = _apply(steps, np.asarray(image.convert("L")), lines, rng)
    return _jpeg(Image.fromarray(pixels), moved, rng.randint(65, 85))


def poor(image: Image.Image, lines: Sequence[Line], rng: random.Random) -> Encoded:
    """A bad copy: turned, blurred, unevenly lit, noisy and specked; half of them are 1-bit, as from a fax."""
    steps = [
        A.Affine(rotate=(-0.5, 0.5), shear=(-0.2, 0.2), fill=245, p=1),
        A.Downscale(scale_range=(0.62, 0.76), interpolation_pair=_COARSE, p=1),
        A.GaussianBlur(sigma_limit=(0.5, 0.9), blur_limit=0, p=1),
        A.RandomBrightnessContrast(brightness_limit=(-0.1, 0.0), contrast_limit=(-0.4, -0.2), p=1),
        A.Illumination(mode="linear", intensity_range=(0.1, 0.2), effect_type="darken", p=1),
        A.GaussNoise(std_range=(0.04, 0.07), p=1),
        A.SaltAndPepper(amount=(0.0005, 0.002), p=1),
    ]
    pixels, moved = _apply(steps, np.asarray(image.convert("L")), lines, rng)
    if rng.random() < 0.5:
        return _png(Image.fromarray(_binary(pixels, rng.uniform(0.66, 0.8))).convert("1"), moved)
    return _jpeg(Image.fromarray(pixels), moved, rng.randint(25, 40))


def photo(image: Image.Image, lines: Sequence[Line], rng: random.Random) -> Encoded:
    """A phone's photograph: the page lies on a desk, seen at an angle, in uneven light."""
    image, lines = _on_desk(image, lines, rng)
    steps = [
        A.Perspective(scale=(0.005, 0.015), fit_output=False, p=1),
        A.Affine(rotate=(-0.8, 0.8), border_mode=cv2.BORDER_REPLICATE, p=1),
        A.RandomBrightnessContrast(brightness_limit=(-0.16, -0.06), contrast_limit=(-0.2, -0.05), p=1),
        A.Illumination(mode="corner", intensity_range=(0.1, 0.2), effect_type="darken", p=0.7),
        A.RGBShift(r_shift_limit=(0, 8), g_shift_limit=(-2, 4), b_shift_limit=(-16, 0), p=1),
        A.Downscale(scale_range=(0.55, 0.8), interpolation_pair=_COARSE, p=1),
        A.MotionBlur(blur_limit=(3, 5), p=0.7),
        A.ISONoise(color_shift=(0.01, 0.03), intensity=(0.1, 0.3), p=1),
    ]
    pixels, moved = _apply(steps, _shaded(np.asarray(image), rng), lines, rng)
    return _jpeg(Image.fromarray(pixels), moved, rng.randint(60, 80))


LEVELS: tuple[Callable[[Image.Image, Sequence[Line], random.Random], Encoded], ...] = (
    clean,
    scan,
    poor,
    photo,
)


def _apply(
    steps: Sequence[Any], pixels: NDArray[np.uint8], lines: Sequence[Line], rng: random.Random
) -> tuple[NDArray[np.uint8], tuple[Line, ...]]:
    corners = np.array([corner for line in lines for corner in line.box or ()], np.float32)
    pipeline = A.Compose(
        steps, keypoint_params=A.KeypointParams(format="xy", remove_invisible=False), seed=rng.getrandbits(32)
    )
    done = pipeline(image=pixels, keypoints=corners)
    quads = np.round(np.asarray(done["keypoints"], np.float64)[:, :2], 1).reshape(-1, 4, 2).tolist()
    return done["image"], tuple(Line(line.text, box(quad)) for line, quad in zip(lines, quads, strict=True))


def _on_desk(
    image: Image.Image, lines: Sequence[Line], rng: random.Random
) -> tuple[Image.Image, tuple[Line, ...]]:
    """The page with a strip of streaked desk around it."""
    edge = round(0.05 * image.width)
    width, height = image.width + 2 * edge, image.height + 2 * edge
    noise = np.random.default_rng(rng.getrandbits(32))
    streaks = np.repeat(noise.normal(0, 9, (height // 3 + 1, 1)), 3, axis=0)[:height]
    colour = np.array(rng.choice(((96, 66, 44), (58, 60, 66), (132, 108, 82))))
    desk = np.clip(colour + streaks[:, :, None], 0, 255).astype(np.uint8)
    photo = Image.fromarray(np.ascontiguousarray(np.broadcast_to(desk, (height, width, 3))))
    photo.paste(image, (edge, edge))
    moved = (Line(line.text, box([(x + edge, y + edge) for x, y in line.box or ()])) for line in lines)
    return photo, tuple(moved)


def _shaded(pixels: NDArray[np.uint8], rng: random.Random) -> NDArray[np.uint8]:
    """A shadow with a soft straight edge over part of the picture, as a hand or the telephone throws it."""
    height, width, _ = pixels.shape
    angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.3) * height
    x = (np.arange(width, dtype=np.float32) - width / 2)[None, :] * np.cos(angle)
    y = (np.arange(height, dtype=np.float32) - height / 2)[:, None] * np.sin(angle)
    depth = rng.uniform(0.25, 0.45) / (1 + np.exp((reach - x - y) / (0.02 * height)))
    shaded: NDArray[np.uint8] = (pixels * (1 - depth)[:, :, None]).astype(np.uint8)
    return shaded


def _binary(pixels: NDArray[np.uint8], threshold: float) -> NDArray[np.uint8]:
    """White where a pixel has at least `threshold` of the light of the paper around it, else black."""
    paper = Image.fromarray(pixels).reduce(16).filter(ImageFilter.MaxFilter(7))
    light = np.asarray(paper.resize(pixels.shape[::-1], Image.Resampling.BILINEAR))
    return np.where(pixels > light * threshold, 255, 0).astype(np.uint8)


def _png(image: Image.Image, lines: Sequence[Line]) -> Encoded:
    file = BytesIO()
    image.save(file, "PNG")
    return Encoded(file.getvalue(), ".png", tuple(lines))


def _jpeg(image: Image.Image, lines: Sequence[Line], quality: int) -> Encoded:
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Encoded(file.getvalue(), ".jpg", tuple(lines))
