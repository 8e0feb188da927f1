from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines.interface import UnsupportedError
from engines.paddleocr.models import cached
from engines.ppocr.models import characters, resolve
from engines.ppocr.runtimes import open_session
from tests.engines.ppocr.support import stage_options

needs_paddle = pytest.mark.skipif(find_spec("paddle") is None, reason="Paddle is not installed")
PADDLE = stage_options(runtime="paddle", threads=1, onednn=False)


def folder(stage: str) -> Path:
    """The model folder of v5 mobile that was fetched for PaddleOCR, which has the same network as ONNX."""
    path = cached(f"PP-OCRv5_mobile_{stage}")
    if not (path / "inference.pdiparams").is_file() or not (path / "inference.onnx").is_file():
        pytest.skip("weights are missing; run `tune engines --fetch paddleocr`")
    return path


@needs_paddle
@pytest.mark.parametrize(("stage", "shape"), [("det", (1, 3, 96, 160)), ("rec", (2, 3, 48, 200))])
def test_f32_equals_onnx_runtime(stage: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    onnx = folder(stage) / "inference.onnx"
    expected = open_session(onnx, stage_options(runtime="onnxruntime", threads=1), "cpu").run(x)
    network = resolve("det" if stage == "det" else "rec", str(folder(stage)), "paddle")
    found = open_session(network, PADDLE, "cpu").run(x)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4


@needs_paddle
def test_a_session_takes_one_shape_after_the_other_and_its_outputs_stay() -> None:
    session = open_session(resolve("rec", str(folder("rec")), "paddle"), PADDLE, "cpu")
    x = np.random.default_rng(1).uniform(-1, 1, (1, 3, 48, 160)).astype(np.float32)
    first = session.run(x)
    kept = first.copy()
    session.run(np.zeros((2, 3, 48, 96), np.float32))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_allclose(session.run(x), kept, atol=1e-5)


def test_a_model_folder_names_its_characters() -> None:
    network = resolve("rec", str(folder("rec")), "paddle")
    assert network.name == "inference.json"
    assert len(characters(network, {})) == 18383


def test_an_onnx_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="set use_cls=false if it is the direction classifier"):
        open_session(tmp_path / "model.onnx", PADDLE, "cpu")


def test_a_network_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inference.json").write_text("{}")
    with pytest.raises(UnsupportedError, match=r"beside inference\.pdiparams"):
        open_session(resolve("det", str(tmp_path), "paddle"), PADDLE, "cpu")


def test_a_tier_without_a_folder_for_paddle_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="v6_small is not known as paddle"):
        resolve("rec", "v6_small", "paddle")


@pytest.mark.skipif(find_spec("paddle") is not None, reason="Paddle is installed")
def test_where_paddle_is_missing_the_remedy_is_named(tmp_path: Path) -> None:
    for name in ("inference.json", "inference.pdiparams"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UnsupportedError, match="pip install paddlepaddle"):
        open_session(tmp_path / "inference.json", PADDLE, "cpu")


@needs_paddle
@pytest.mark.filterwarnings("ignore:No ccache found")
def test_a_build_for_the_cpu_refuses_a_gpu() -> None:
    import paddle

    if paddle.is_compiled_with_cuda():
        pytest.skip("this Paddle has CUDA")
    with pytest.raises(UnsupportedError, match="this Paddle cannot run on cuda:0"):
        open_session(resolve("det", str(folder("det")), "paddle"), PADDLE, "cuda:0")
