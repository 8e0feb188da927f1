"""Every kind of file becomes upright RGB, and every bad one a sentence."""

import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.data import PageError, PageRef, decode
from harness.data.decode import count_pages, open_pdf

Ref = Callable[..., PageRef]
RAMP = np.linspace(0, 255, 40 * 30).astype(np.uint8).reshape(30, 40)
COLOURS = np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 90)], axis=2)


def check_form(pixels: NDArray[np.uint8], height: int, width: int) -> None:
    assert pixels.shape == (height, width, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".ppm"])
def test_lossless_colour_comes_back_bit_by_bit(tmp_path: Path, ref: Ref, suffix: str) -> None:
    path = tmp_path / f"page{suffix}"
    Image.fromarray(COLOURS).save(path)
    pixels = decode(ref(path))
    check_form(pixels, 30, 40)
    assert np.array_equal(pixels, COLOURS)


def test_gray_is_the_same_in_all_three_channels(tmp_path: Path, ref: Ref) -> None:
    Image.fromarray(RAMP).save(tmp_path / "page.png")
    pixels = decode(ref(tmp_path / "page.png"))
    check_form(pixels, 30, 40)
    assert all(np.array_equal(pixels[:, :, channel], RAMP) for channel in range(3))


def test_bits_become_black_and_white(tmp_path: Path, ref: Ref) -> None:
    bits = (np.indices((30, 40)).sum(axis=0) % 3 == 0).astype(np.uint8) * 255
    Image.fromarray(bits).convert("1").save(tmp_path / "page.png")
    Image.fromarray(bits).convert("1").save(tmp_path / "page.tif", compression="group4")
    for name in ("page.png", "page.tif"):
        assert np.array_equal(decode(ref(tmp_path / name)), np.repeat(bits[:, :, None], 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path: Path, ref: Ref, suffix: str) -> None:
    deep = np.linspace(0, 65_535, 1200).astype(np.uint16).reshape(30, 40)
    Image.fromarray(deep).save(tmp_path / f"page{suffix}")
    gray = decode(ref(tmp_path / f"page{suffix}"))[:, :, 0]
    assert np.abs(gray.astype(int) - np.rint(deep / 257).astype(int)).max() <= 1


@pytest.mark.parametrize("white", [1.0, 255.0, 65_535.0])
def test_floats_are_scaled_by_the_white_they_use(tmp_path: Path, ref: Ref, white: float) -> None:
    values = np.linspace(0, white, 1200, dtype=np.float32).reshape(30, 40)
    Image.fromarray(values).save(tmp_path / "page.tif")
    gray = decode(ref(tmp_path / "page.tif"))[:, :, 0]
    assert np.abs(gray - values / white * 255).max() <= 0.51


def test_transparent_parts_are_white(tmp_path: Path, ref: Ref) -> None:
    alpha = np.zeros((30, 40), np.uint8)
    alpha[:, :20] = 255
    Image.fromarray(np.dstack([COLOURS, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([RAMP, alpha])).save(tmp_path / "la.png")
    for name, inked in (("rgba.png", COLOURS), ("la.png", np.repeat(RAMP[:, :, None], 3, axis=2))):
        pixels = decode(ref(tmp_path / name))
        assert np.array_equal(pixels[:, :20], inked[:, :20])
        assert (pixels[:, 20:] == 255).all()


def test_half_transparent_black_is_gray(tmp_path: Path, ref: Ref) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 128)).save(tmp_path / "page.png")
    assert (decode(ref(tmp_path / "page.png")) == 127).all()


def test_palettes_are_looked_up_and_their_transparent_colour_is_white(tmp_path: Path, ref: Ref) -> None:
    image = Image.new("P", (4, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1, 0, 1])
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "clear.png", transparency=0)
    assert decode(ref(tmp_path / "plain.png"))[0].tolist() == [[10, 20, 30], [200, 100, 50]] * 2
    assert decode(ref(tmp_path / "clear.png"))[0].tolist() == [[255, 255, 255], [200, 100, 50]] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pages_are_turned_upright_as_their_exif_says(tmp_path: Path, ref: Ref, orientation: int) -> None:
    upright = COLOURS[:16, :24]
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "page.png", exif=exif)
    assert np.array_equal(decode(ref(tmp_path / "page.png")), upright)


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_jpegs_have_their_colours_with_and_without_adobes_inversion(
    tmp_path: Path, ref: Ref, adobe: bool
) -> None:
    file = BytesIO()
    Image.new("CMYK", (32, 32), (0, 200, 255, 0)).save(file, "JPEG", quality=95)
    data = file.getvalue()
    at = data.index(b"\xff\xee")
    assert data[at + 4 : at + 9] == b"Adobe"
    if (
        not adobe
    ):  # without the marker the stored samples are ink as it stands, so the colours are the opposite
        data = data[:at] + data[at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0] :]
    (tmp_path / "page.jpg").write_bytes(data)
    colour = decode(ref(tmp_path / "page.jpg")).mean(axis=(0, 1))
    assert np.abs(colour - ((255, 55, 0) if adobe else (0, 0, 0))).max() < 4


def test_frames_of_a_tiff_are_pages(tmp_path: Path, ref: Ref) -> None:
    frames = [Image.new("L", (10 + n, 20), 50 * n) for n in range(3)]
    frames[0].save(tmp_path / "book.tif", save_all=True, append_images=frames[1:])
    assert count_pages(tmp_path / "book.tif", pdf=False) == 3
    for n in range(3):
        pixels = decode(ref(tmp_path / "book.tif", n))
        check_form(pixels, 20, 10 + n)
        assert (pixels == 50 * n).all()


def test_pdf_pages_are_rendered_at_their_resolution(
    tmp_path: Path, ref: Ref, pdf: Callable[..., bytes]
) -> None:
    (tmp_path / "book.pdf").write_bytes(pdf(["", "Hello"]))
    blank, page = decode(ref(tmp_path / "book.pdf")), decode(ref(tmp_path / "book.pdf", 1, 144))
    check_form(blank, 556, 834)
    check_form(page, 400, 600)
    assert (blank == 255).all()
    inked = np.argwhere(page[:, :, 0] < 128)
    top, left = inked.min(axis=0)
    bottom, right = inked.max(axis=0)
    assert 160 <= top < bottom <= 206  # the baseline is 100 points above the bottom edge, at 2 pixels a point
    assert 40 <= left < right <= 170


def test_pdf_colours_are_red_green_blue(tmp_path: Path, ref: Ref, pdf: Callable[..., bytes]) -> None:
    """The content stream leaves its text object, and fills a rectangle in the colour that it names."""
    (tmp_path / "red.pdf").write_bytes(pdf([") Tj ET 1 0 0.2 rg 0 0 300 50 re f BT ("]))
    pixels = decode(ref(tmp_path / "red.pdf", 0, 72))
    assert pixels[190, 150].tolist() == [255, 0, 51]
    assert pixels[10, 150].tolist() == [255, 255, 255]


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def jpeg_cut_short() -> bytes:
    file = BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (200, 200, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


LOCKED = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O (%s) /U (%s) >> /ID [(0) (0)]" % (
    b"o" * 32,
    b"u" * 32,
)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("huge.png", png_header(60_000, 60_000), "60000 x 60000 pixels"),
        ("empty.png", b"", "is empty"),
        ("notes.png", b"these are notes, not a picture", "not an image of a known kind"),
        ("cut.jpg", jpeg_cut_short(), "is damaged"),
        ("bad.png", png_header(40, 40), "is damaged"),
        ("noise.pdf", b"%PDF-1.7 and then nothing of the kind", "not a readable PDF"),
        ("picture.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known kind"),
    ],
)
def test_bad_files_are_page_errors_that_name_file_and_cause(
    tmp_path: Path, ref: Ref, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PageError, match=says) as caught:
        decode(ref(tmp_path / name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_encrypted_pdfs_are_named_as_such(tmp_path: Path, ref: Ref, pdf: Callable[..., bytes]) -> None:
    (tmp_path / "locked.pdf").write_bytes(pdf(["secret"], trailer=LOCKED))
    with pytest.raises(PageError, match="encrypted"):
        decode(ref(tmp_path / "locked.pdf"))


def test_pdf_pages_of_a_square_kilometre_are_refused(
    tmp_path: Path, ref: Ref, pdf: Callable[..., bytes]
) -> None:
    (tmp_path / "wall.pdf").write_bytes(pdf([""], size=(14_000, 14_000)))
    with pytest.raises(PageError, match="million"):
        decode(ref(tmp_path / "wall.pdf"))


def test_missing_files_folders_and_pipes_are_page_errors(tmp_path: Path, ref: Ref) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "folder.png", "missing.png"):
        with pytest.raises(PageError, match=name):
            decode(ref(tmp_path / name))


def test_a_huge_png_is_refused_without_memory_for_it(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(60_000, 60_000))
    script = f"""
import resource
from pathlib import Path
from harness.data.decode import PageError, count_pages
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    count_pages(Path({str(path)!r}), pdf=False)
except PageError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 50_000  # KiB; the pixels would need 10 GiB


def test_threads_wait_for_each_other_with_pdfs(tmp_path: Path, ref: Ref, pdf: Callable[..., bytes]) -> None:
    (tmp_path / "book.pdf").write_bytes(pdf([f"page {n}" for n in range(4)]))
    alone = [decode(ref(tmp_path / "book.pdf", n)) for n in range(4)]
    together: dict[int, NDArray[np.uint8]] = {}

    def render(number: int) -> None:
        together[number] = decode(ref(tmp_path / "book.pdf", number))

    threads = [threading.Thread(target=render, args=(n,)) for n in range(4)]
    with open_pdf(tmp_path / "book.pdf"):
        for thread in threads:
            thread.start()
        threads[0].join(0.3)
        assert together == {}
    for thread in threads:
        thread.join()
    assert all(np.array_equal(together[n], alone[n]) for n in range(4))


def test_the_worker_imports_neither_pydantic_nor_yaml_with_decode() -> None:
    script = "import sys; from harness.data import decode; print({'pydantic', 'yaml'} & set(sys.modules))"
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_the_limit_is_ours_whatever_another_library_made_of_pillows(
    tmp_path: Path, ref: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    Image.new("RGB", (10, 10), "white").save(tmp_path / "small.png")
    assert decode(ref(tmp_path / "small.png")).shape == (10, 10, 3)
