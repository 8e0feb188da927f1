"""The CER of an adapter is that of its library in the hands of a script of a few lines, on the same scans.

Those of `paddleocr`, `easyocr` and `marker` are compared beside their other tests.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rapidfuzz.distance import Levenshtein

from engines import registry
from tests.engines.support import MACHINE, loaded, read, words

PAGES = ("sroie_receipts/402.jpg", "tesseract_test/phototest.tif")


def tesseract(file: Path) -> str:
    import tesserocr

    from engines.tesseract import _installed

    with tesserocr.PyTessBaseAPI(path=str(_installed("eng")), lang="eng") as api:
        api.SetImageFile(str(file))
        return str(api.GetUTF8Text())


def rapidocr(file: Path) -> str:
    from rapidocr import RapidOCR

    result: Any = RapidOCR(params={"Global.log_level": "error"})(str(file))
    return " ".join(result.txts)


def faster_paddle(file: Path) -> str:
    from faster_paddle import OcrEngine

    return str(OcrEngine().ocr(file.read_bytes())["structured_text"])


@pytest.mark.parametrize("script", [tesseract, rapidocr, faster_paddle], ids=lambda script: script.__name__)
def test_the_error_rate_is_that_of_the_library(script: Callable[[Path], str], real_pages: Path) -> None:
    name = script.__name__
    if reason := registry.load(name).unusable(MACHINE):
        pytest.skip(f"{name}: {reason}")
    files = [real_pages / page for page in PAGES]
    ours, theirs, length = 0, 0, 0
    for file, text in zip(files, read(name, [loaded(file) for file in files]), strict=True):
        truth = words(file.with_suffix(".txt").read_text(encoding="utf-8"))
        ours += Levenshtein.distance(words(text.text), truth)
        theirs += Levenshtein.distance(words(script(file)), truth)
        length += len(truth)
    assert ours == theirs
    assert 0 < ours < 0.5 * length
