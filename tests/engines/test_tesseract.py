"""The adapter against the API used plainly and against the command line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rapidfuzz.distance import Levenshtein

from engines import tesseract as adapter
from engines.interface import Page, StageTimer, UnsupportedError
from tests.engines.support import INVOICE, LETTER, MACHINE, complete, drawn, loaded, read, words

pytestmark = pytest.mark.skipif(
    adapter.unusable(MACHINE) is not None, reason=f"tesseract: {adapter.unusable(MACHINE)}"
)
MAPS = "import tesserocr; print(open('/proc/self/maps').read())"


def refusal(**changes: str | int) -> str:
    """Why the settings are refused."""
    settings = complete(adapter.knobs(MACHINE), **changes)
    with pytest.raises(UnsupportedError) as error, adapter.open(settings, "cpu", StageTimer()):
        pass
    return str(error.value)


def test_other_trained_data_are_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = adapter.checksums()
    assert set(theirs) == {"eng.traineddata"}
    (tmp_path / "eng.traineddata").write_bytes(b"abc")
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
    # The SHA-256 of "abc" is an example of FIPS 180-2.
    assert adapter.checksums()["eng.traineddata"].startswith("ba7816bf8f01cfea414140de5dae2223")
    assert adapter.checksums() != theirs


def test_defaults_read_what_the_api_reads(receipt: Path) -> None:
    import tesserocr

    with tesserocr.PyTessBaseAPI(path=str(adapter._tessdata("eng")), lang="eng") as api:
        api.SetImageFile(str(receipt))
        theirs = [line.strip() for line in api.GetUTF8Text().splitlines() if line.strip()]
    (ours,) = read("tesseract", [loaded(receipt)])
    assert len(theirs) > 10
    assert [line.text for line in ours.lines] == theirs


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="there is no tesseract command on the PATH")
def test_defaults_read_what_the_command_line_reads(real_pages: Path, tmp_path: Path) -> None:
    """Near equality: the command may be another version of Tesseract 5 than the library inside tesserocr."""
    page = loaded(real_pages / "tesseract_test" / "phototest.tif")
    file = tmp_path / "page.png"
    Image.fromarray(page.pixels).save(file)  # without a resolution, as the adapter gets it
    command = ["tesseract", str(file), "-", "--tessdata-dir", str(adapter._tessdata("eng"))]
    theirs = words(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    (ours,) = read("tesseract", [page])
    assert len(theirs) > 200
    assert Levenshtein.distance(words(ours.text), theirs) <= 0.01 * len(theirs)


def test_boxes_of_a_resized_page_lie_on_the_page() -> None:
    page = drawn("letter", *LETTER)
    plain, larger = (read("tesseract", [page], scale=scale)[0] for scale in (1.0, 2.0))
    assert plain.text == larger.text
    for one, other in zip(plain.lines, larger.lines, strict=True):
        assert np.abs(np.array(one.box) - np.array(other.box)).max() <= 4


def test_white_on_black_is_read_only_with_an_invert_threshold() -> None:
    black = drawn("letter", *INVOICE).pixels.copy()
    black[:180] = 255 - black[:180]
    page = Page("half", black)
    with_it, without = (read("tesseract", [page], invert_threshold=value)[0].text for value in (0.7, 0.0))
    assert INVOICE[0] in with_it
    assert INVOICE[0] not in without


def test_segmentation_mode_acts() -> None:
    rows = ("left side of it          the right side", "goes on below          goes on as well")
    columns = drawn("columns", *rows, size=(1400, 260))
    block, sparse = (read("tesseract", [columns], psm=psm)[0].text.splitlines() for psm in (6, 11))
    assert block == ["left side of it the right side", "goes on below goes on as well"]
    assert sparse == ["left side of it", "the right side", "goes on below", "goes on as well"]


def test_missing_trained_data_is_named() -> None:
    assert "'tlh'" in refusal(language="tlh")
    assert "'eng+tlh'" in refusal(language="eng+tlh")


def test_a_recogniser_that_the_trained_data_lacks_is_refused() -> None:
    assert "oem=0" in refusal(oem=0)


def test_tessdata_prefix_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = adapter._tessdata("eng")
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
    assert adapter._tessdata("eng") == elsewhere != tmp_path
    (tmp_path / "eng.traineddata").touch()
    assert adapter._tessdata("eng") == tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="the oracle is /proc")
def test_the_thread_limit_is_offered_where_openmp_is_loaded() -> None:
    maps = subprocess.run([sys.executable, "-c", MAPS], capture_output=True, text=True, check=True).stdout
    offered = "omp_threads" in {knob.name for knob in adapter.knobs(MACHINE)}
    assert offered == ("libgomp" in maps)


def test_the_thread_limit_reaches_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_THREAD_LIMIT", "7")
    read("tesseract", [], omp_threads=0)
    assert os.environ["OMP_THREAD_LIMIT"] == "7"
    read("tesseract", [], omp_threads=1)
    assert os.environ["OMP_THREAD_LIMIT"] == "1"
