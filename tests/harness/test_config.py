import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from engines.interface import Machine, Page
from harness import environments, yaml_text
from harness.config import MachineFacts, TunedConfig, load, read_config, to_yaml
from harness.errors import UserError
from harness.machine import detect, fingerprint

CONFIG = TunedConfig(
    engine="ppocr", device="cpu", settings={"use_cls": False, "det_side": 960, "text_score": 0.5}
)


def written(folder: Path, text: str) -> Path:
    path = folder / "best.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_config_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_config(written(tmp_path, to_yaml(CONFIG))) == CONFIG


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("engin: ppocr\ndevice: cpu\nsettings: {}\n", "engin"),
        (
            "engine: ppocr\ndevice: cpu\nsettings: {}\nobjectiv: x\n",
            "unknown key 'objectiv': did you mean 'objective'",
        ),
        ("engine: ppocr\ndevice: cpu\n", "settings"),
        ("engine: ppocr\ndevice: cpu\nsettings: {a: [1]}\n", "settings"),
        ("engine: ppocr\ndevice: cpu\nsettings: {}\nformat: 2\n", "format"),
        ("- 1\n", "must be a mapping"),
        ("a: [", "is not YAML"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
        ("", "must be a mapping"),
    ],
)
def test_what_is_no_config_is_refused_with_the_reason(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_config(written(tmp_path, text))


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_config(tmp_path / "none.yaml")


def test_an_unknown_key_inside_the_machine_is_named(tmp_path: Path) -> None:
    broken = {**yaml.safe_load(to_yaml(CONFIG)), "machine": {"fingerprnt": "x"}}
    with pytest.raises(UserError, match="fingerprnt"):
        read_config(written(tmp_path, yaml.safe_dump(broken)))


def test_production_loads_a_config_and_reads(tmp_path: Path, scripted: str) -> None:
    config = TunedConfig(
        engine="scripted", device="cpu", settings={"fault": "none", "page_ms": 5, "garbled_pct": 0}
    )
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels.reshape(-1)[:5] = list(b"hello")
    with load(written(tmp_path, to_yaml(config))) as reader:
        (text,) = reader.read([Page("p", pixels)])
    assert text.text == "hello"


def test_a_config_that_this_machine_wrote_loads_in_silence(tmp_path: Path, scripted: str) -> None:
    here = detect()
    facts = environments.recorded(environments.find("scripted", here))
    assert "ocr-tune" in facts
    made_here = MachineFacts(
        fingerprint=fingerprint(here, facts),
        cpu_model=here.cpu_model,
        cores=here.cores,
        memory_mib=here.memory_mib,
    )
    config = TunedConfig(
        engine="scripted",
        device="cpu",
        settings={"fault": "none", "page_ms": 5, "garbled_pct": 0},
        machine=made_here,
    )
    with load(written(tmp_path, to_yaml(config)), here):  # warnings are errors
        pass


def test_a_config_of_another_machine_loads_with_a_warning(tmp_path: Path, scripted: str) -> None:
    here = detect()
    made_on = {"fingerprint": "elsewhere", "cpu_model": "Another CPU", "cores": 64, "memory_mib": 1}
    text = {
        "engine": "scripted",
        "device": "cpu",
        "settings": {"fault": "none", "page_ms": 5, "garbled_pct": 0},
    }
    path = written(tmp_path, yaml.safe_dump({**text, "machine": made_on}))
    with pytest.warns(UserWarning, match="Another CPU"), load(path, replace(here, cores=1)):
        pass


def test_loading_on_the_same_machine_is_silent(tmp_path: Path, scripted: str) -> None:
    text = {
        "engine": "scripted",
        "device": "cpu",
        "settings": {"fault": "none", "page_ms": 5, "garbled_pct": 0},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with load(written(tmp_path, yaml.safe_dump(text)), Machine("cpu", 2, 1024)):
            pass


def test_settings_that_a_config_leaves_out_are_the_engines_own(tmp_path: Path, scripted: str) -> None:
    text = {"engine": "scripted", "device": "cpu", "settings": {}}
    with load(written(tmp_path, yaml.safe_dump(text)), Machine("cpu", 2, 1024)) as reader:
        (read,) = reader.read([Page("p", np.zeros((4, 4, 3), np.uint8))])
    assert read.text == ""


def test_a_config_that_decodes_pages_in_its_own_way_says_so(tmp_path: Path, scripted: str) -> None:
    text = {"engine": "scripted", "device": "cpu", "settings": {"grey": True, "jpeg_side": 1280}}
    path = written(tmp_path, yaml.safe_dump(text))
    with (
        pytest.warns(UserWarning, match="decoded with jpeg_side=1280, grey=True"),
        load(path, Machine("cpu", 2, 1024)),
    ):
        pass


def test_an_engine_that_cannot_open_here_says_which_config(tmp_path: Path, scripted: str) -> None:
    text = {"engine": "scripted", "device": "cpu", "settings": {"fault": "unsupported"}}
    path = written(tmp_path, yaml.safe_dump(text))
    with pytest.raises(UserError, match="cannot be opened here"), load(path, Machine("cpu", 2, 1024)):
        pass


def test_a_key_that_stands_twice_is_refused_and_merged_ones_are_not(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("engine: scripted\ndevice: cpu\nsettings:\n  page_ms: 20\n  page_ms: 10\n")
    with pytest.raises(UserError, match="the key 'page_ms' stands twice, again in line 5"):
        read_config(path)
    merged = yaml_text.parse("- &a {x: 1, y: 2}\n- &b {<<: *a, x: 3}\n- {<<: *b, y: 4}\n")
    assert merged == [{"x": 1, "y": 2}, {"x": 3, "y": 2}, {"x": 3, "y": 4}]
