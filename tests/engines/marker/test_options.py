"""What is offered for a version follows from what that version declares; no model is loaded."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engines import marker as adapter
from engines.interface import Gpu, Machine, Setting, StageTimer, UnsupportedError
from engines.marker import checkpoints, versions
from engines.marker.knobs import SEPARATOR, configuration, environment
from engines.marker.reader import split_pages
from harness.data.resources import resource
from harness.phases.applies import settings_on, unoffered
from harness.phases.ladder import read_ladder
from harness.space import Space
from tests.engines.support import MACHINE, complete

BEFORE = """
class Settings(BaseSettings):
    FOUNDATION_MODEL_CHECKPOINT: str = "s3://text_recognition/2025_09_23"
    RECOGNITION_MODEL_CHECKPOINT: str = "s3://text_recognition/2025_09_23"
    COMPILE_DETECTOR: bool = False
    COMPILE_LAYOUT: bool = False
    COMPILE_FOUNDATION: bool = False
    DETECTOR_BATCH_SIZE: Optional[int] = None
"""
AFTER = """
class Settings(BaseSettings):
    SURYA_MODEL_CHECKPOINT: str = "datalab-to/surya-ocr-2"
    SURYA_GGUF_REPO: str = "datalab-to/surya-ocr-2-gguf"
    SURYA_GGUF_MODEL_FILE: str = "surya-2.gguf"
    SURYA_GGUF_MMPROJ_FILE: str = "surya-2-mmproj.gguf"
    FAST_LAYOUT_MODEL_CHECKPOINT: str = "hf://datalab-to/surya_layout2"
    FAST_ORDER_MODEL_CHECKPOINT: str = "hf://datalab-to/surya_layout2/order"
    OCR_ERROR_MODEL_CHECKPOINT: str = "s3://ocr_error_detection/2025_02_18"
    FAST_LAYOUT_SERVER_MAX_BATCH: Optional[int] = None
    SURYA_INFERENCE_PARALLEL: Optional[int] = None
"""
BUILDERS = {
    BEFORE: "class LayoutBuilder:\n    layout_batch_size: Annotated[int, 'pages'] = None\n"
    "class OcrBuilder:\n    recognition_batch_size: Annotated[int, 'lines'] = None\n",
    AFTER: "class LayoutBuilder:\n    mode: Annotated[str, 'balanced or fast'] = 'balanced'\n",
}
Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts packages that declare what a version declares, and no weights, where they are looked for."""
    for name in ("HF_HOME", "MODEL_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    for name in ("marker", "surya"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def write(settings: str) -> None:
        files = {
            "surya/settings.py": settings,
            "marker/converters/pdf.py": "",
            "marker/builders/layout.py": BUILDERS[settings],
        }
        for name, text in files.items():
            file = tmp_path / "site" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for package in ("marker", "surya"):
            (tmp_path / "site" / package / "__init__.py").touch()
        monkeypatch.syspath_prepend(str(tmp_path / "site"))

    return write


def bring_weights(tmp_path: Path) -> None:
    """What a download leaves behind, without its bytes."""
    for place in checkpoints.missing():
        kind, _, path = place.partition("://")
        if kind == "s3":
            folder = tmp_path / "MODEL_CACHE_DIR" / path
            folder.mkdir(parents=True)
            (folder / "manifest.json").write_text(json.dumps({"files": ["model.safetensors"]}))
            (folder / "model.safetensors").touch()
        else:
            owner, name, *inside = path.split("/")
            snapshot = tmp_path / "HF_HOME" / "hub" / f"models--{owner}--{name}" / "snapshots" / "0f1e"
            (snapshot / "/".join(inside)).mkdir(parents=True, exist_ok=True)


def names(machine: Machine = MACHINE) -> set[str]:
    return {knob.name for knob in adapter.knobs(machine)}


def settings(**changes: Setting) -> dict[str, Setting]:
    return complete(adapter.knobs(MACHINE), **changes)


def test_without_weights_the_version_with_models_of_its_own_is_unusable(install: Install) -> None:
    install(BEFORE)
    reason = adapter.unusable(MACHINE) or ""
    assert "s3://text_recognition/2025_09_23; run `tune engines --fetch marker`" in reason


def test_without_weights_only_text_layers_are_offered(install: Install) -> None:
    install(AFTER)
    assert adapter.unusable(MACHINE) is None
    assert not {"precision", "mode", "layout_batch_size", "layout_threads"} & names()
    defaults = settings()
    assert (defaults["layout"], defaults["ocr"]) == ("none", False)
    assert "from the text layers of PDFs only" in adapter.summary()
    assert "tune engines --fetch marker" in adapter.summary()


@pytest.mark.parametrize(
    ("version", "place"),
    [(BEFORE, "s3://text_recognition/2025_09_23"), (AFTER, "hf://datalab-to/surya-ocr-2-gguf/surya-2.gguf")],
)
def test_missing_weights_are_named_with_the_command(version: str, place: str, install: Install) -> None:
    install(version)
    with (
        pytest.raises(UnsupportedError, match=r"run `tune engines --fetch marker`") as refusal,
        adapter.open(settings() | {"ocr": True}, "cpu", StageTimer()),
    ):
        pass
    assert place in str(refusal.value)


@pytest.mark.parametrize("version", [BEFORE, AFTER])
def test_weights_that_are_here_are_found_file_by_file(version: str, install: Install, tmp_path: Path) -> None:
    install(version)
    bring_weights(tmp_path)
    assert checkpoints.missing() == ()
    assert list(adapter.fetch()) == ["the weights of surya are here"]
    for file in tmp_path.rglob("model.safetensors"):
        file.unlink()
    assert [place[:5] for place in checkpoints.missing()] == ["s3://"]


def test_settings_of_the_version_with_models_of_its_own(install: Install, tmp_path: Path) -> None:
    install(BEFORE)
    bring_weights(tmp_path)
    assert not versions.serves_language_model()
    assert {"precision", "layout_batch_size", "compile_layout", "compile_recognition"} <= names()
    # It declares no such option, or marker overrules it.
    assert not {"mode", "compile_tables", "det_batch_size", "layout_threads", "parallel_requests"} & names()
    chosen = settings(layout_batch_size=8, compile_layout=True)
    assert configuration(chosen)["layout_batch_size"] == 8
    assert environment(chosen, "cuda:0") == {"TORCH_DEVICE": "cuda:0", "COMPILE_LAYOUT": "True"}


def test_settings_of_the_version_that_serves_a_language_model(install: Install, tmp_path: Path) -> None:
    install(AFTER)
    bring_weights(tmp_path)
    assert versions.serves_language_model()
    assert {"mode", "layout_threads", "layout_max_batch", "parallel_requests"} <= names()
    assert not {"precision", "layout_batch_size", "compile_layout"} & names()
    on_gpu = Machine("test", cores=2, memory_mib=8192, gpus=(Gpu(0, "gpu", 8192, "1"),))
    assert "precision" in names(on_gpu)
    modes = [settings()["mode"], complete(adapter.knobs(on_gpu))["mode"]]
    assert modes == ["fast", "balanced"]
    told = environment(settings(layout_threads=2, parallel_requests=4), "cpu")
    assert told["FAST_LAYOUT_NUM_THREADS"] == "2"
    assert told["SURYA_INFERENCE_PARALLEL"] == "4"
    assert "FAST_LAYOUT_SERVER_MAX_BATCH" not in told


@pytest.mark.parametrize(
    ("version", "rungs"), [(BEFORE, {"fp16", "compile", "batch"}), (AFTER, {"fp16", "lighter-models"})]
)
def test_rungs_of_the_guide_set_what_the_version_offers(
    version: str, rungs: set[str], install: Install, tmp_path: Path
) -> None:
    install(version)
    bring_weights(tmp_path)
    machine = Machine("test", cores=8, memory_mib=8192, gpus=(Gpu(0, "gpu", 8192, "1"),))
    space = Space("marker", "cuda:0", adapter.knobs(machine))
    ladder = read_ladder(resource("experiments/marker.yaml"))
    ours = [rung for rung in ladder.rungs if "marker" in rung.settings]
    offered = {rung.id for rung in ours if not unoffered(settings_on(rung, space, machine), space)}
    assert offered == rungs | {"no-llm", "pdftext-workers"}
    # Neither version has settings for these: the run says so.
    assert {rung.id for rung in ours} - offered - {"fp16", "compile", "batch", "lighter-models"} == {
        "device",
        "mps-fallback-off",
    }
    assert all(space.admits(rung.given.get("marker", {})) for rung in ours)


def test_the_language_model_of_others_is_off_unless_it_is_set(install: Install) -> None:
    install(AFTER)
    assert configuration(settings())["use_llm"] is False
    assert "llm_service" not in settings()
    assert settings(use_llm=True)["llm_service"].endswith("GoogleGeminiService")  # type: ignore[union-attr]


def test_another_package_of_that_name_is_not_taken_for_marker(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "marker").mkdir(parents=True)
    (tmp_path / "site" / "marker" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert "pip install marker-pdf" in (adapter.unusable(MACHINE) or "")


def test_a_document_is_taken_apart_at_its_pages() -> None:
    markdown = f"\n\n{{4}}{SEPARATOR}\n\n# One\n\ntwo\n\n{{0}}{SEPARATOR}\n\n{{5}}\n\n{{7}}{SEPARATOR}\n\n"
    assert split_pages(markdown) == {4: "# One\n\ntwo", 0: "{5}", 7: ""}
