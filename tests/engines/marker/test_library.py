"""The adapter against marker itself, on what it can do without weights: text layers of PDFs."""

import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pypdfium2.raw
import pytest
from rapidfuzz.distance import Levenshtein

from engines import marker as adapter
from engines.interface import Gpu, Machine, Page, PageText, PdfPage, Setting, StageTimer, UnsupportedError
from engines.marker import checkpoints, versions
from engines.marker.knobs import configuration, environment
from tests.engines.support import INVOICE, LETTER, MACHINE, complete, words

pytestmark = pytest.mark.skipif(
    find_spec("marker") is None or not versions.installed(), reason="marker-pdf is not installed"
)
PIXELS = np.full((20, 20, 3), 255, np.uint8)
LAYERS: dict[str, Setting] = {"layout": "none", "ocr": False, "pdftext_workers": 1}


@pytest.fixture(scope="module")
def pdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pages with text layers, the last one empty."""
    file = tmp_path_factory.mktemp("pdf") / "letters.pdf"
    document = pypdfium2.PdfDocument.new()
    for lines in (LETTER, INVOICE, ()):
        page = document.new_page(595, 842)
        for row, line in enumerate(lines):
            text = pypdfium2.raw.FPDFPageObj_NewTextObj(document, b"Helvetica", 24.0)
            encoded = ctypes.create_string_buffer((line + "\0").encode("utf-16-le"))
            wide = ctypes.cast(encoded, ctypes.POINTER(pypdfium2.raw.FPDF_WCHAR))
            pypdfium2.raw.FPDFText_SetText(text, wide)
            pypdfium2.raw.FPDFPageObj_Transform(text, 1, 0, 0, 1, 60, 700 - 40 * row)
            pypdfium2.raw.FPDFPage_InsertObject(page, text)
        page.gen_content()
    document.save(file)
    document.close()
    return file


def read(pages: list[Page], **changes: Setting) -> list[PageText]:
    settings = complete(adapter.knobs(MACHINE), **LAYERS, **changes)
    with adapter.open(settings, "cpu", StageTimer()) as reader:
        return reader.read(pages)


def library(file: Path) -> str:
    """What marker's own manual has: a converter, its models, a file."""
    from marker.converters.pdf import PdfConverter
    from marker.models import create_model_dict

    config = {
        "disable_ocr": True,
        "force_layout_block": "Text",
        "pdftext_workers": 1,
        "extract_images": False,
    }
    markdown: str = PdfConverter(artifact_dict=create_model_dict(), config=config)(str(file)).markdown
    return markdown


def test_pages_come_in_the_order_that_they_are_asked_for(pdf: Path) -> None:
    order = [1, 2, 0, 1]
    texts = read([Page(f"p{index}", PIXELS, PdfPage(str(pdf), index)) for index in order])
    invoice, empty, letter, again = (words(text.text) for text in texts)
    assert (invoice, empty, letter) == (" ".join(INVOICE), "", " ".join(LETTER))
    assert again == invoice


def test_the_error_rate_is_that_of_the_library(real_pages: Path) -> None:
    files = sorted((real_pages / "borndigital_pdf").glob("pypdf_*.pdf"))[:3]
    ours, theirs, length = 0, 0, 0
    texts = read([Page(file.stem, PIXELS, PdfPage(str(file), 0)) for file in files])
    for file, text in zip(files, texts, strict=True):
        truth = words(file.with_suffix(".txt").read_text(encoding="utf-8"))
        ours += Levenshtein.distance(words(text.text), truth)
        theirs += Levenshtein.distance(words(library(file)), truth)
        length += len(truth)
    assert ours == theirs
    assert 0 < ours < 0.5 * length


def test_an_image_without_ocr_is_refused_with_the_remedy(pdf: Path) -> None:
    with pytest.raises(UnsupportedError, match="page photo is an image; run `tune engines --fetch marker`"):
        read([Page("photo", PIXELS)])


def test_an_unknown_device_is_refused() -> None:
    settings = complete(adapter.knobs(MACHINE), **LAYERS)
    with pytest.raises(UnsupportedError, match="abacus:7"), adapter.open(settings, "abacus:7", StageTimer()):
        pass


@pytest.mark.parametrize("gpus", [(), (Gpu(0, "gpu", 8192, "1"),)])
def test_the_library_knows_every_option_that_it_is_given(
    gpus: tuple[Gpu, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from marker.config.crawler import crawler
    from surya.settings import settings as surya

    monkeypatch.setattr(checkpoints, "missing", lambda: ())
    knobs = adapter.knobs(Machine("test", cores=2, memory_mib=8192, gpus=gpus))
    last: dict[str, Any] = {knob.name: knob.domain.values[-1] for knob in knobs}
    assert {"mode", "force_ocr", "parallel_requests"} <= {*last}
    assert {*configuration(last)} - {*crawler.attr_set} == set()
    assert {*environment(last, "cpu")} - {*type(surya).model_fields} == set()


def test_defaults_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from marker.builders.document import DocumentBuilder
    from marker.converters.pdf import PdfConverter
    from marker.providers.pdf import PdfProvider

    monkeypatch.setattr(checkpoints, "missing", lambda: ())
    defaults = {knob.name: knob.default for knob in adapter.knobs(MACHINE)}
    for name, owner in (
        ("pdftext_workers", PdfProvider),
        ("force_ocr", PdfProvider),
        ("lowres_image_dpi", DocumentBuilder),
        ("highres_image_dpi", DocumentBuilder),
        ("use_llm", PdfConverter),
    ):
        assert defaults[name] == getattr(owner, name), name
    assert defaults["ocr"] is not DocumentBuilder.disable_ocr
