"""Small pages in every form that users have them in."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from harness.data import PageRef

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folders of real pages, which lie beside the repository where they may be used."""
    if not SHARED.is_dir() and not os.environ.get("CI"):
        pytest.skip(f"there are no real pages at {SHARED}")
    return SHARED


@pytest.fixture
def ref() -> Callable[..., PageRef]:
    """A reference to a file, without ground truth."""

    def make(path: Path, index: int = 0, dpi: int = 200) -> PageRef:
        kind = "pdf" if path.suffix == ".pdf" else "image"
        return PageRef(path.name, "set", "doc", str(path), index, kind, None, "strict", "", dpi)  # type: ignore[arg-type]

    return make


@pytest.fixture
def picture() -> Callable[[Path], Path]:
    """Writes a small gray picture."""

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (32, 16), 200).save(path)
        return path

    return write


def pdf_bytes(pages: Sequence[str], *, trailer: bytes = b"", size: tuple[int, int] = (300, 200)) -> bytes:
    """A PDF with a line of 24 point Helvetica on each page; pages without text are blank."""
    count = len(pages)
    kids = b" ".join(b"%d 0 R" % (4 + 2 * n) for n in range(count))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        content = b"BT /F1 24 Tf 20 100 Td (%s) Tj ET" % text.encode() if text else b""
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (*size, 5 + 2 * number)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    body, offsets = b"%PDF-1.4\n", []
    for number, entry in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, entry)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    table += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    root = b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n"
    return body + table + root % (len(objects) + 1, trailer, len(body))


@pytest.fixture
def pdf() -> Callable[..., bytes]:
    """Makes the bytes of a PDF."""
    return pdf_bytes
