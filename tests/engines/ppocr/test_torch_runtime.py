from pathlib import Path

import numpy as np
import pytest

from engines import pytorch
from engines.interface import Setting, StageTimer, UnsupportedError
from engines.ppocr import open as open_ppocr
from engines.ppocr.knobs import knobs
from engines.ppocr.models import resolve
from engines.ppocr.runtimes import RUNTIMES, open_session
from tests.engines.ppocr.support import stage_options
from tests.engines.support import INVOICE, LETTER, MACHINE, complete, drawn

TORCH = stage_options(runtime="torch", threads=1)


def weights(stage: str) -> Path:
    """The safetensors of the small tier; skips where PyTorch or they are missing."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    try:
        return resolve("det" if stage == "det" else "rec", "v6_small", "safetensors")
    except UnsupportedError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(("stage", "shape"), [("det", (1, 3, 96, 160)), ("rec", (2, 3, 48, 200))])
def test_f32_equals_onnx_runtime(stage: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    onnx = resolve("det" if stage == "det" else "rec", "v6_small")
    expected = open_session(onnx, stage_options(runtime="onnxruntime", threads=1), "cpu").run(x)
    found = open_session(weights(stage), TORCH, "cpu").run(x)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("changes", [{}, {"rec_channels_last": True}], ids=["eager", "channels last"])
def test_drawn_pages_read_the_same(changes: dict[str, Setting]) -> None:
    weights("rec")
    pages = [drawn("letter", *LETTER), drawn("invoice", *INVOICE)]
    read = []
    for runtime in ("onnxruntime", "torch"):
        settings = complete(
            knobs(MACHINE),
            det_runtime=runtime,
            rec_runtime=runtime,
            use_cls=False,
            det_threads=1,
            rec_threads=1,
        )
        if runtime == "torch":
            settings |= changes
        with open_ppocr(settings, "cpu", StageTimer()) as reader:
            read.append([page.text for page in reader.read(pages)])
    assert read[0] == read[1]
    assert read[0][0].splitlines() == list(LETTER)


def test_bfloat16_stays_near_and_comes_out_as_float32() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (1, 3, 48, 160)).astype(np.float32)
    path = weights("rec")
    exact, near = (
        open_session(path, {**TORCH, "autocast": cast}, "cpu").run(x) for cast in ("off", "bfloat16")
    )
    assert near.dtype == np.float32
    assert 0 < np.abs(near - exact).max() < 0.2


def test_an_onnx_file_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="reads safetensors of PP-OCRv6 small, not"):
        open_session(resolve("rec", "v6_small"), TORCH, "cpu")


def test_a_tier_without_weights_for_pytorch_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="v6_tiny is not known as safetensors"):
        resolve("rec", "v6_tiny", RUNTIMES["torch"].FORMAT)


def test_a_machine_without_a_gpu_is_offered_no_tf32() -> None:
    assert not [knob for knob in knobs(MACHINE) if "tf32" in knob.name]


def test_each_fixed_shape_is_compiled_once_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.setattr("shutil.which", lambda _name: "g++")
    before = pytorch.compilations()
    whole = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda model, **how: whole(model, backend="eager", dynamic=how["dynamic"])
    )
    chosen: dict[str, Setting] = {"model_compile": "default", "model_fullgraph": False, "model_dynamic": "no"}
    model = pytorch.compiled(torch.nn.Linear(2, 3), chosen, "model")
    counted = []
    for rows in (4, 4, 5, 5, 6):
        model(torch.ones(rows, 2))
        counted.append({name: total - before[name] for name, total in pytorch.compilations().items()})
    assert [each["compiled_graphs"] for each in counted] == [1, 1, 2, 2, 3]
    assert [each["recompilations"] for each in counted] == [0, 0, 1, 1, 2]
    assert [each["graph_breaks"] for each in counted] == [0, 0, 0, 0, 0]
    seconds = [each["compile_s"] for each in counted]
    assert 0 < seconds[0] == seconds[1] < seconds[2] == seconds[3] < seconds[4]


def test_metal_is_refused_where_there_is_none() -> None:
    path = weights("rec")
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("this machine has Metal")
    with pytest.raises(UnsupportedError, match="finds no Metal here"):
        open_session(path, TORCH, "mps")
