import json
import shlex

import pytest
import yaml

from engines.interface import Machine, Setting
from harness.config import TunedConfig
from harness.errors import UserError
from harness.export import EXPORTERS
from harness.space import Space

MACHINE = Machine("test", cores=2, memory_mib=8192)


def config(engine: str, **settings: Setting) -> TunedConfig:
    variant = Space.of(engine, "cpu", MACHINE).variant(settings)
    return TunedConfig(engine=engine, device="cpu", settings=dict(variant.settings))


def test_json_holds_the_whole_config() -> None:
    tuned = config("ppocr", use_cls=False)
    assert TunedConfig.model_validate(json.loads(EXPORTERS["json"](tuned))) == tuned


def test_env_survives_a_shell() -> None:
    tuned = config("ppocr", rec_model="/a path/with $dollars 'and' quotes.onnx")
    pairs = dict(line.split("=", 1) for line in shlex.split(EXPORTERS["env"](tuned), comments=False))
    assert pairs["OCR_TUNE_REC_MODEL"] == "/a path/with $dollars 'and' quotes.onnx"
    assert pairs["OCR_TUNE_USE_CLS"] == "true"


@pytest.mark.parametrize("engine", ["ppocr", "rapidocr"])
def test_rapidocr_itself_loads_its_config(engine: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    from rapidocr import RapidOCR

    path = tmp_path_factory.mktemp("export") / "rapidocr.yaml"
    path.write_text(EXPORTERS["rapidocr"](config(engine, use_cls=False, text_score=0.7)))
    read = RapidOCR(config_path=str(path)).cfg
    assert (read.Global.use_cls, read.Global.text_score) == (False, 0.7)
    assert read.Det.engine_type.value == "onnxruntime"
    assert list(read.Rec.rec_img_shape) == [3, 48, 320]


def test_what_rapidocr_lacks_stands_as_a_comment() -> None:
    text = EXPORTERS["rapidocr"](config("ppocr", replicas=2))
    assert "# replicas: 2" in text
    assert "replicas" not in yaml.safe_load(text)


def test_another_engine_has_no_rapidocr_config() -> None:
    with pytest.raises(UserError, match="only ppocr and rapidocr"):
        EXPORTERS["rapidocr"](TunedConfig(engine="tesseract", device="cpu", settings={}))
