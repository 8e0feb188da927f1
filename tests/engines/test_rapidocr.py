"""The adapter against the library itself."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from engines import rapidocr as adapter
from engines.interface import StageTimer, UnsupportedError
from tests.engines.support import LETTER, MACHINE, complete, drawn, loaded, read, words

pytestmark = pytest.mark.skipif(find_spec("rapidocr") is None, reason="rapidocr is not installed")


@pytest.fixture(scope="module")
def config() -> Any:
    """The library's own defaults."""
    from omegaconf import OmegaConf

    (folder,) = find_spec("rapidocr").submodule_search_locations  # type: ignore[union-attr,misc]
    return OmegaConf.load(Path(folder) / "config.yaml")


def test_defaults_read_what_the_library_reads_from_the_file(receipt: Path) -> None:
    from rapidocr import RapidOCR

    theirs: Any = RapidOCR(params={"Global.log_level": "error"})(str(receipt))
    (ours,) = read("rapidocr", [loaded(receipt)])
    assert len(theirs.txts) > 10
    assert tuple(line.text for line in ours.lines) == theirs.txts
    # Equal to the last bit, so channels are in the right order too: this page is tinted.
    assert tuple(line.confidence for line in ours.lines) == theirs.scores
    assert [list(map(list, line.box or ())) for line in ours.lines] == theirs.boxes.tolist()


def test_defaults_are_those_of_the_library(config: Any) -> None:
    from omegaconf import OmegaConf

    defaults = {knob.name: knob.default for knob in adapter.knobs(MACHINE)}
    for name, theirs in adapter._PARAMETERS.items():
        assert OmegaConf.select(config, theirs) == defaults[name], name
    assert {config[part].engine_type for part in adapter._PARTS} == {defaults["engine_type"]}
    assert list(config.Rec.rec_img_shape) == [3, adapter._REC_HEIGHT_PX, defaults["rec_img_width"]]


def test_openvino_reads_the_same_words() -> None:
    (text,) = read("rapidocr", [drawn("letter", *LETTER)], engine_type="openvino", inference_num_threads=1)
    assert words(text.text) == words(" ".join(LETTER))


def test_settings_reach_the_library(receipt: Path) -> None:
    (strict,) = read("rapidocr", [loaded(receipt)], text_score=0.99, use_cls=False, rec_img_width=48)
    (lenient,) = read("rapidocr", [loaded(receipt)], text_score=0.0, use_cls=False, rec_img_width=48)
    assert all(line.confidence is not None and line.confidence >= 0.99 for line in strict.lines)
    assert 0 < len(strict.lines) < len(lenient.lines)


def test_a_missing_model_is_named_and_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rapidocr.main

    monkeypatch.setattr(rapidocr.main, "root_dir", tmp_path)
    settings = complete(adapter.knobs(MACHINE))
    with (
        pytest.raises(UnsupportedError, match=r"PP-OCRv6_det_small\.onnx is not on this machine; run"),
        adapter.open(settings, "cpu", StageTimer()),
    ):
        pass
    assert list(tmp_path.rglob("*.onnx")) == []
