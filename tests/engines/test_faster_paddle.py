"""The adapter against the library itself."""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from engines import faster_paddle as adapter
from engines.interface import StageTimer, UnsupportedError
from tests.engines.support import MACHINE, complete, loaded, read

pytestmark = pytest.mark.skipif(find_spec("faster_paddle") is None, reason="faster-paddle is not installed")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def refusal(**changes: str | int) -> str:
    """Why the settings are refused."""
    settings = complete(adapter.knobs(MACHINE), **changes)
    with pytest.raises(UnsupportedError) as error, adapter.open(settings, "cpu", StageTimer()):
        pass
    return str(error.value)


def models() -> tuple[object, ...]:
    """What the model knob offers."""
    return next(knob for knob in adapter.knobs(MACHINE) if knob.name == "model").domain.values


@pytest.mark.parametrize("model", ["tiny", "small"])
def test_every_result_is_the_library_s_own(model: str, real_pages: Path) -> None:
    from faster_paddle import OcrEngine

    page = real_pages / "tesseract_test" / "phototest.tif"
    theirs = OcrEngine(model_size=model).ocr(page.read_bytes())
    for key in ("structured_text", "text"):
        (ours,) = read("faster_paddle", [loaded(page)], model=model, text_from=key)
        assert len(ours.lines) >= 7
        assert [line.text for line in ours.lines] == [x for x in theirs[key].splitlines() if x.strip()]
    (ours,) = read("faster_paddle", [loaded(page)], model=model, text_from="bounds")
    bounds = list(theirs["bounds"].values())
    assert [line.text for line in ours.lines] == [bound["text"] for bound in bounds]
    assert [line.confidence for line in ours.lines] == pytest.approx(
        [bound["confidence"] for bound in bounds]
    )
    corners = [(line.box[0], line.box[2]) for line in ours.lines if line.box]
    assert corners == [(bound["topLeftCoord"], bound["bottomRightCoord"]) for bound in bounds]


def test_defaults_are_those_of_the_library() -> None:
    from faster_paddle import OcrEngine

    config = OcrEngine().config
    defaults = {knob.name: knob.default for knob in adapter.knobs(MACHINE)}
    assert defaults["model"] == "tiny"
    assert {name: defaults[name] for name in ("rec_batch", "det_max_side", "det_min_side")} == {
        name: config[name] for name in ("rec_batch", "det_max_side", "det_min_side")
    }


def test_settings_reach_the_library(receipt: Path) -> None:
    page = loaded(receipt)
    usual, blurred = (
        read("faster_paddle", [page], det_max_side=side, det_min_side=0)[0] for side in (1600, 96)
    )
    assert len(usual.text) > 3 * len(blurred.text)


def test_settings_that_the_library_refuses_are_unsupported() -> None:
    assert "rec_min_width must be between 64 and 3200" in refusal(rec_min_width=10)


def test_the_medium_model_is_offered_only_where_it_lies(empty_cache: Path) -> None:
    assert models() == ("tiny", "small")
    folder = empty_cache / "faster_paddle" / f"v{version('faster-paddle')}" / "medium"
    folder.mkdir(parents=True)
    (folder / "ppocrv6_medium_det.onnx").touch()
    assert models() == ("tiny", "small")
    (folder / "ppocrv6_medium_rec.onnx").touch()
    assert models() == ("tiny", "small", "medium")


def test_the_medium_model_is_not_downloaded(empty_cache: Path) -> None:
    assert "not on this machine" in refusal(model="medium")
    assert list(empty_cache.iterdir()) == []
