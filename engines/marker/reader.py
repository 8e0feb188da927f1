"""Documents in, Markdown out: pages of one PDF that come together are converted together."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from engines import pytorch
from engines.interface import Line, Page, PageText, StageTimer, UnsupportedError
from engines.marker.knobs import SEPARATOR

_PAGE = re.compile(r"\{(\d+)\}" + re.escape(SEPARATOR))


class MarkerReader:
    """Converts pages with models that are loaded once."""

    def __init__(
        self, models: Mapping[str, Any], config: Mapping[str, Any], llm_service: str | None, timer: StageTimer
    ) -> None:
        self._models = models
        self._config = config
        self._llm_service = llm_service
        self._timer = timer

    def read(self, pages: Sequence[Page]) -> list[PageText]:
        """One text of Markdown lines a page. A page that was decoded from a PDF is converted from that PDF.

        Raises UnsupportedError for a page without a document where OCR is off.
        """
        texts: list[PageText] = []
        with pytorch.quiet(), pytorch.translated("marker"):
            for path, together in groupby(pages, lambda page: page.pdf and page.pdf.path):
                group = list(together)
                texts += self._from_pdf(path, group) if path else map(self._from_image, group)
        return texts

    def _from_pdf(self, path: str, pages: Sequence[Page]) -> list[PageText]:
        wanted = [page.pdf.index for page in pages if page.pdf]
        found = split_pages(self._convert(path, page_range=sorted({*wanted})))
        return [_lines(found.get(index, "")) for index in wanted]

    def _from_image(self, page: Page) -> PageText:
        if self._config["disable_ocr"]:
            raise UnsupportedError(
                f"marker without OCR reads the text layers of PDFs only, and page {page.id} is an image; "
                "run `tune engines --fetch marker` and set ocr=true"
            )
        with _image_file(page, self._timer) as file:
            return _lines("\n".join(split_pages(self._convert(str(file))).values()))

    def _convert(self, path: str, **changes: Any) -> str:
        from marker.converters.pdf import PdfConverter

        # The library marks no stages that can be told apart from outside.
        with self._timer.stage("recognise"):
            convert = PdfConverter(
                artifact_dict=dict(self._models),
                config={**self._config, **changes},
                llm_service=self._llm_service,
            )
            return str(convert(path).markdown)


def split_pages(markdown: str) -> dict[int, str]:
    """The Markdown of each page by its number, from 0, out of that of a document."""
    _, *parts = _PAGE.split(markdown)
    return {int(number): text.strip() for number, text in zip(parts[::2], parts[1::2], strict=True)}


def _lines(markdown: str) -> PageText:
    return PageText(tuple(Line(line.strip()) for line in markdown.splitlines() if line.strip()))


@contextmanager
def _image_file(page: Page, timer: StageTimer) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ocr-tune-") as folder:
        file = Path(folder, "page.png")
        with timer.stage("preprocess"):
            Image.fromarray(page.pixels).save(file, compress_level=0)
        yield file
