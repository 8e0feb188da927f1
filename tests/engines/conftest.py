"""Opened engines and real pages, once for all tests."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from engines import registry
from engines.interface import Setting, StageTimer, UnsupportedError
from tests.engines.support import INVOICE, LETTER, MACHINE, ROOT, Opened, complete, drawn

WORKING: dict[str, dict[str, Setting]] = {"paddleocr": {"onednn": False}}
"""What an engine needs to read at all on some processors, where it crashes as shipped."""


@pytest.fixture(scope="session", params=registry.names())
def engine_name(request: pytest.FixtureRequest) -> str:
    """Every engine that can run here; the others are skipped for the reason that they give."""
    name: str = request.param
    if reason := registry.load(name).unusable(MACHINE):
        pytest.skip(f"{name}: {reason}")
    return name


@pytest.fixture(scope="session")
def opened(engine_name: str) -> Iterator[Opened]:
    engine = registry.load(engine_name)
    settings = complete(engine.knobs(MACHINE), **WORKING.get(engine_name, {}))
    timer = StageTimer()
    pages = (drawn("letter", *LETTER), drawn("invoice", *INVOICE))
    with engine.open(settings, "cpu", timer) as reader:
        timer.take()
        start = time.perf_counter()
        try:
            texts = tuple(reader.read(pages))
        except UnsupportedError as error:  # it converts documents only, and these pages are none
            pytest.skip(f"{engine_name}: {error}")
        wall_s = time.perf_counter() - start
        yield Opened(engine, settings, reader, pages, texts, timer.take(), wall_s)


@pytest.fixture(scope="session")
def real_pages() -> Path:
    """Folders of scanned pages, which lie beside the repository where they may be used."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir() and not os.environ.get("CI"):
        pytest.skip(f"there are no real pages at {folder}")
    return folder


@pytest.fixture(scope="session")
def receipt(real_pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Part of a scanned receipt, tinted: on a grey page nobody sees that red and blue are swapped."""
    part = tmp_path_factory.mktemp("pages") / "receipt.png"
    grey = Image.open(real_pages / "sroie_receipts" / "045.jpg").convert("L").crop((250, 380, 850, 900))
    ImageOps.colorize(grey, "darkblue", "moccasin").save(part)
    return part
