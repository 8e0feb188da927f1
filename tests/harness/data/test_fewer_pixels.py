"""Cheaper decoding: what is left out is never decoded, and what is read still lies where it is on the whole page."""

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pypdfium2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from engines.interface import Line, PageText
from harness.data import Decoding, PageRef, Picture, decode, open_page
from harness.data.decode import picture, read_header
from harness.data.refs import box

Ref = Callable[..., PageRef]
Decoded = list[tuple[str, tuple[int, int]]]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    """Mode and size of every picture that Pillow decodes, as they leave its decoder."""
    seen: Decoded = []
    load = ImageFile.ImageFile.load

    def counted(image: ImageFile.ImageFile) -> object:
        fresh = bool(image.tile)
        access = load(image)
        if fresh:
            seen.append((image.im.mode, image.im.size))
        return access

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    return seen


def scene(width: int, height: int) -> NDArray[np.uint8]:
    """Smooth colours that differ from corner to corner."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return (255 * np.stack([across, down, 1 - across * down], axis=2)).astype(np.uint8)


def jpeg(path: Path, width: int, height: int, mode: str = "RGB", **options: object) -> Path:
    Image.fromarray(scene(width, height)).convert(mode).save(path, "JPEG", quality=95, **options)
    return path


def samples(decoded: Decoded) -> int:
    """Bytes that came out of the decoders."""
    return sum(len(Image.new(mode, (1, 1)).getbands()) * width * height for mode, (width, height) in decoded)


@pytest.mark.parametrize(
    ("side", "size"),
    [
        (0, (1001, 700)),
        (1001, (1001, 700)),
        (502, (1001, 700)),
        (501, (501, 350)),
        (300, (501, 350)),
        (251, (251, 175)),
        (126, (126, 88)),
        (1, (126, 88)),
    ],
)
def test_libjpeg_decodes_no_more_than_the_side_asks_for(
    tmp_path: Path, ref: Ref, decoded: Decoded, side: int, size: tuple[int, int]
) -> None:
    page = picture(ref(jpeg(tmp_path / "page.jpg", 1001, 700)), Decoding(jpeg_side=side))
    assert decoded == [("RGB", size)]
    assert page.pixels.shape == (size[1], size[0], 3)
    assert (page.width, page.height) == (1001, 700)


@given(width=st.integers(1, 90), height=st.integers(1, 90), side=st.integers(1, 100))
def test_the_scale_is_the_smallest_that_keeps_the_side(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, side: int
) -> None:
    path = jpeg(tmp_path_factory.mktemp("jpeg") / "page.jpg", width, height)
    ref = PageRef("p", "s", "d", str(path), 0, "image", None, "strict", "")
    longer = max(picture(ref, Decoding(jpeg_side=side)).pixels.shape[:2])
    assert longer >= min(side, max(width, height))
    kept = [-(-max(width, height) // scale) for scale in (1, 2, 4, 8)]
    # A side of less than the scale cannot be divided by it, so a strip may keep more.
    if min(width, height) >= 8:
        assert longer == min(size for size in kept if size >= min(side, max(width, height)))


def test_a_page_with_fewer_pixels_is_what_another_binding_of_libjpeg_makes_of_it(
    tmp_path: Path, ref: Ref
) -> None:
    path = jpeg(tmp_path / "page.jpg", 640, 480, subsampling=0)
    for scale, flag in (
        (2, cv2.IMREAD_REDUCED_COLOR_2),
        (4, cv2.IMREAD_REDUCED_COLOR_4),
        (8, cv2.IMREAD_REDUCED_COLOR_8),
    ):
        theirs = cv2.imread(str(path), flag)
        assert theirs is not None
        ours = picture(ref(path), Decoding(jpeg_side=640 // scale)).pixels
        assert np.abs(ours.astype(int) - theirs[:, :, ::-1]).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pages_keep_their_whole_size_upright(tmp_path: Path, ref: Ref, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = jpeg(tmp_path / "page.jpg", 480, 320, exif=exif)
    whole = decode(ref(path))
    page = picture(ref(path), Decoding(jpeg_side=120))
    assert (page.height, page.width) == whole.shape[:2]
    assert page.pixels.shape == (whole.shape[0] // 4, whole.shape[1] // 4, 3)
    smaller = np.asarray(Image.fromarray(whole).reduce(4)).astype(int)
    assert np.abs(page.pixels - smaller).mean() < 2


@pytest.mark.parametrize("adobe", [True, False])
@pytest.mark.parametrize("grey", [False, True])
def test_cmyk_keeps_its_colours_at_every_scale(tmp_path: Path, ref: Ref, adobe: bool, grey: bool) -> None:
    file = BytesIO()
    Image.new("CMYK", (64, 64), (0, 200, 255, 0)).save(file, "JPEG", quality=95)
    data = file.getvalue()
    at = data.index(b"\xff\xee")
    if not adobe:
        data = data[:at] + data[at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0] :]
    (tmp_path / "page.jpg").write_bytes(data)
    page = picture(ref(tmp_path / "page.jpg"), Decoding(jpeg_side=16, grey=grey))
    assert page.pixels.shape == (16, 16, 3)
    whole = decode(ref(tmp_path / "page.jpg"))
    luma = np.asarray(Image.fromarray(whole).convert("L")).mean()
    expected = np.full(3, luma) if grey else whole.mean(axis=(0, 1))
    assert np.abs(page.pixels.mean(axis=(0, 1)) - expected).max() < 3


@pytest.mark.parametrize("progressive", [False, True])
def test_grey_jpegs_and_progressive_ones_are_scaled_too(
    tmp_path: Path, ref: Ref, decoded: Decoded, progressive: bool
) -> None:
    picture(ref(jpeg(tmp_path / "page.jpg", 400, 300, "L", progressive=progressive)), Decoding(jpeg_side=200))
    assert decoded == [("L", (200, 150))]


def test_grey_of_a_colour_jpeg_is_its_luma_and_colours_are_not_computed(
    tmp_path: Path, ref: Ref, decoded: Decoded
) -> None:
    path = jpeg(tmp_path / "page.jpg", 400, 300, subsampling=0)
    grey = picture(ref(path), Decoding(grey=True)).pixels
    assert decoded == [("L", (400, 300))]
    luma = np.asarray(Image.fromarray(decode(ref(path))).convert("L")).astype(int)
    assert all(np.abs(grey[:, :, channel] - luma).max() <= 3 for channel in range(3))
    assert grey.flags.c_contiguous
    assert grey.flags.writeable


def test_together_they_decode_a_twelfth_of_a_real_receipt(shared: Path, ref: Ref, decoded: Decoded) -> None:
    page = ref(shared / "sroie_receipts" / "045.jpg")
    longer = max(decode(page).shape)
    whole = samples(decoded)
    decoded.clear()
    picture(page, Decoding(jpeg_side=longer // 2, grey=True))
    assert read_header(page).colour
    assert samples(decoded) == pytest.approx(whole / 12, rel=0.01)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_other_kinds_of_images_are_decoded_whole(tmp_path: Path, ref: Ref, suffix: str) -> None:
    options = {"compression": "jpeg"} if suffix == ".tif" else {}
    path = tmp_path / f"page{suffix}"
    Image.fromarray(scene(64, 48)).save(path, **options)
    assert np.array_equal(picture(ref(path), Decoding(jpeg_side=8, pdf_side=8)).pixels, decode(ref(path)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1", "L", "I;16"])
def test_grey_of_any_mode_is_the_luma_of_its_colours(tmp_path: Path, ref: Ref, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50)
    else:
        image = Image.fromarray(scene(40, 30)).convert(mode)
    image.save(tmp_path / "page.png")
    grey = picture(ref(tmp_path / "page.png"), Decoding(grey=True)).pixels
    luma = np.asarray(Image.fromarray(decode(ref(tmp_path / "page.png"))).convert("L"))
    assert grey.shape == (30, 40, 3)
    assert all(np.array_equal(grey[:, :, channel], luma) for channel in range(3))
    assert read_header(ref(tmp_path / "page.png")).colour == (mode in ("RGB", "RGBA", "P"))


@pytest.mark.parametrize("side", [150, 1280])
def test_pdf_pages_are_rendered_at_the_side_that_is_asked_for(
    tmp_path: Path, ref: Ref, pdf: Callable[..., bytes], side: int
) -> None:
    (tmp_path / "book.pdf").write_bytes(pdf(["Hello"]))
    page = picture(ref(tmp_path / "book.pdf"), Decoding(pdf_side=side))
    assert 0 <= max(page.pixels.shape) - side <= 1
    assert (page.height, page.width) == decode(ref(tmp_path / "book.pdf")).shape[:2] == (556, 834)
    inked = np.argwhere(page.pixels[:, :, 0] < 128).min(axis=0) / page.pixels.shape[:2]
    whole = np.argwhere(decode(ref(tmp_path / "book.pdf"))[:, :, 0] < 128).min(axis=0) / (556, 834)
    assert np.abs(inked - whole).max() < 0.02


def test_grey_pdf_pages_are_the_luma_of_their_colours(
    tmp_path: Path, ref: Ref, pdf: Callable[..., bytes]
) -> None:
    (tmp_path / "red.pdf").write_bytes(pdf([") Tj ET 1 0 0.2 rg 0 0 300 50 re f BT ("]))
    page = ref(tmp_path / "red.pdf", 0, 72)
    grey = picture(page, Decoding(grey=True)).pixels
    luma = np.asarray(Image.fromarray(decode(page)).convert("L")).astype(int)
    assert grey.shape == (200, 300, 3)
    assert grey.flags.c_contiguous
    assert all(np.abs(grey[:, :, channel] - luma).max() <= 2 for channel in range(3))


def test_a_pdf_page_with_a_text_layer_is_not_rendered(
    tmp_path: Path, ref: Ref, pdf: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "book.pdf").write_bytes(pdf(["Hello", ""]))
    with monkeypatch.context() as patch:
        patch.delattr(pypdfium2.PdfPage, "render")
        found = open_page(ref(tmp_path / "book.pdf"), Decoding(text_layer=True))
    assert found == PageText((Line("Hello"),))
    assert isinstance(open_page(ref(tmp_path / "book.pdf", 1), Decoding(text_layer=True)), Picture)
    assert isinstance(open_page(ref(tmp_path / "book.pdf"), Decoding()), Picture)


def test_boxes_are_put_back_on_the_whole_page() -> None:
    page = Picture(np.zeros((100, 50, 3), np.uint8), width=199, height=400)
    line = Line("text", box([0, 10, 50, 100]), 0.9)
    assert page.on_page(line) == Line("text", box([0, 40, 199, 400]), 0.9)
    assert page.on_page(Line("text")) == Line("text")
