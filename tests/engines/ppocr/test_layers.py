"""What each runtime says of its layers, beside the models' own graphs."""

import re
import time
from pathlib import Path

import pytest

from engines import ppocr
from engines.interface import Layer, Setting
from engines.ppocr.models import ModelStage, resolve
from engines.ppocr.runtimes import open_session
from tests.engines.ppocr.support import stage_options
from tests.engines.support import INVOICE, LETTER, MACHINE, complete, drawn

PAGES = [drawn("letter", *LETTER), drawn("invoice", *INVOICE)]
SMALL: dict[str, Setting] = {"det_model": "v6_tiny", "rec_model": "v6_tiny", "use_cls": False}


def name(stage: ModelStage) -> str:
    """What a model is called, by where it lies on this machine."""
    path = resolve(stage, "v6_tiny")
    return f"{path.parent.name}/{path.stem}"


def timed(folder: Path, **changes: Setting) -> tuple[list[Layer], float]:
    """The layers of two pages read one by one, and the seconds that the whole took."""
    began_s = time.perf_counter()
    found = ppocr.layers(complete(ppocr.knobs(MACHINE), **SMALL, **changes), "cpu", PAGES, folder)
    return found, time.perf_counter() - began_s


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_every_model_has_its_layers(tmp_path: Path, runtime: str) -> None:
    found, took_s = timed(tmp_path, det_runtime=runtime, rec_runtime=runtime)
    assert {layer.model for layer in found} == {f"0 {name('det')}", f"1 {name('rec')}"}
    assert 0 < sum(layer.total_ms for layer in found) < 1000 * took_s
    # The detector runs once a page.
    detection = [layer for layer in found if layer.model.startswith("0") and "onv" in layer.kind]
    assert len(detection) > 10
    assert {layer.calls for layer in detection} == {len(PAGES)}


def test_layers_of_onnx_runtime_are_nodes_of_the_graph(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    graph = onnx.load(resolve("det", "v6_tiny")).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    found, _ = timed(tmp_path, det_graph_level="disable")
    timed_ = [layer for layer in found if layer.model.startswith("0") and layer.kind == "Conv"]
    assert sorted(layer.name for layer in timed_) == sorted(node.name for node in convolutions)
    assert {layer.kernel for layer in timed_} == {"CPUExecutionProvider"}


def test_onnx_runtime_leaves_a_trace_for_each_model(tmp_path: Path) -> None:
    timed(tmp_path, rec_runtime="openvino")
    # The runtime adds the time, whose hour may look like a year.
    named = [re.sub(r"_\d{4}-\d\d-\d\d_.*", "", path.name) for path in tmp_path.iterdir()]
    assert named == [name("det").replace("/", "-")]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_nothing_is_timed_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.chdir(tmp_path)
    model = resolve("rec", "v6_tiny")
    session = open_session(model, stage_options(runtime=runtime), "cpu")
    assert session.layers("rec") == []
    assert not list(tmp_path.iterdir())
