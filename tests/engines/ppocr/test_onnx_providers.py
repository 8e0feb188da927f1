from pathlib import Path

import numpy as np
import pytest

from engines.interface import Gpu, Machine, Setting, Settings, UnsupportedError
from engines.ppocr.knobs import knobs
from engines.ppocr.models import resolve
from engines.ppocr.runtimes import StageOptions, Tensor, device_of, open_session
from engines.ppocr.runtimes.onnx_providers import (
    CPU,
    CUDA,
    TENSORRT,
    Engines,
    engine_recipe,
    profile,
    providers,
)
from engines.ppocr.runtimes.onnx_runtime import ProfiledSession
from engines.ppocr.runtimes.session import Session
from tests.engines.ppocr.support import stage_options
from tests.engines.support import MACHINE, complete

TWO_GPUS = Machine("test", 8, 65536, gpus=(Gpu(0, "first", 81920, "570"), Gpu(1, "second", 81920, "570")))


def options(prefix: str, **changes: Setting) -> Settings:
    """What a stage is told on a machine with two GPUs."""
    named = {f"{prefix}_{name}": value for name, value in changes.items()}
    return StageOptions(prefix, complete(knobs(TWO_GPUS), **named))


def told(prefix: str, device: str = "cuda:0", **changes: Setting) -> dict[str, dict[str, str]]:
    chosen = options(prefix, **changes)
    engines = Engines("x", Path("kept")) if chosen.get("provider") == "tensorrt" else None
    return dict(providers(chosen, device, engines))


def test_a_machine_without_a_gpu_is_offered_nothing_of_one() -> None:
    words = ("device", "provider", "cudnn", "gpu", "cuda", "trt", "binding")
    assert not [knob.name for knob in knobs(MACHINE) if any(word in knob.name for word in words)]


def test_gpu_knobs_leave_a_stage_that_sits_on_the_cpu() -> None:
    here = set(complete(knobs(TWO_GPUS), det_device="cpu"))
    assert "rec_provider" in here
    assert not here & {"det_provider", "det_cudnn_search", "det_gpu_arena", "det_io_binding"}


def test_stages_sit_on_devices_of_their_own() -> None:
    settings = complete(knobs(TWO_GPUS), det_device="cpu", rec_device="cuda:1")
    stages = (StageOptions("det", settings), StageOptions("rec", settings))
    assert [device_of(stage, "cuda:0") for stage in stages] == ["cpu", "cuda:1"]
    assert device_of(options("rec"), "cuda:0") == "cuda:0"
    assert device_of(stage_options(runtime="onnxruntime"), "cpu") == "cpu"


def test_the_cuda_provider_is_told_its_settings_in_the_words_of_onnx_runtime() -> None:
    cuda = told("rec", "cuda:1", cudnn_search="exhaustive", gpu_arena="as_requested", gpu_memory_mib=2048)
    assert list(cuda) == [CUDA, CPU]
    assert cuda[CUDA] == {
        "device_id": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "enable_cuda_graph": "0",
        "gpu_mem_limit": str(2 * 1024**3),
    }


def test_a_cuda_graph_needs_bound_buffers_and_is_captured_by_one_provider() -> None:
    assert "cuda_graph" not in options("rec")
    assert told("rec", io_binding=True, cuda_graph=True)[CUDA]["enable_cuda_graph"] == "1"
    both = told("rec", provider="tensorrt", io_binding=True, cuda_graph=True)
    assert both[TENSORRT]["trt_cuda_graph_enable"] == "1"
    assert both[CUDA]["enable_cuda_graph"] == "0"


def test_tensorrt_is_told_precision_caches_and_the_shapes_of_the_recogniser() -> None:
    all_providers = told(
        "rec", provider="tensorrt", trt_precision="f16", batch=8, min_width=64, trt_max_width=2560
    )
    assert list(all_providers) == [TENSORRT, CUDA, CPU]
    tensorrt = all_providers[TENSORRT]
    assert (tensorrt["trt_fp16_enable"], tensorrt["trt_bf16_enable"]) == ("1", "0")
    assert tensorrt["trt_engine_cache_path"] == tensorrt["trt_timing_cache_path"] == "kept"
    assert tensorrt["trt_profile_min_shapes"] == "x:1x3x48x64"
    assert tensorrt["trt_profile_opt_shapes"] == "x:8x3x48x640"
    assert tensorrt["trt_profile_max_shapes"] == "x:8x3x48x2560"


@pytest.mark.parametrize(
    ("limit", "least", "most"), [("max", (32, 32), (960, 960)), ("min", (960, 960), (1920, 1920))]
)
def test_the_detector_has_shapes_on_its_grid(
    limit: str, least: tuple[int, int], most: tuple[int, int]
) -> None:
    shapes = profile(options("det", provider="tensorrt", side=950, limit_type=limit))
    assert (shapes.least[2:], shapes.most[2:]) == (least, most)
    assert shapes.admits(shapes.usual)
    assert all(size % 32 == 0 for size in shapes.usual[2:])


def test_shapes_outside_the_profile_are_not_admitted() -> None:
    shapes = profile(options("rec", provider="tensorrt", batch=4, min_width=64, trt_max_width=1280))
    assert shapes.admits((4, 3, 48, 1280))
    assert not any(
        shapes.admits(shape) for shape in ((5, 3, 48, 640), (1, 3, 48, 1281), (1, 3, 48, 63), (3, 48, 640))
    )


def test_engines_are_kept_apart_by_all_that_changes_them_and_by_nothing_else() -> None:
    def recipe(**changes: Setting) -> dict[str, str]:
        return engine_recipe(options("rec", provider="tensorrt", **changes), "0" * 64, "1.24")

    assert recipe() == recipe(io_binding=True, cuda_graph=True)
    others = [recipe(**{name: value}) for name, value in (("batch", 2), ("trt_precision", "f16"))]
    assert len({str(sorted(each.items())) for each in (recipe(), *others)}) == 3


class Named(Session):
    """Answers with its own number."""

    def __init__(self, number: float) -> None:
        self.metadata = {"character": "a"}
        self._number = number

    def run(self, x: Tensor) -> Tensor:
        return np.full(len(x), self._number, np.float32)


def test_what_the_engine_was_not_built_for_runs_elsewhere() -> None:
    shapes = profile(options("rec", provider="tensorrt", batch=2, min_width=64, trt_max_width=1280))
    session = ProfiledSession(Named(1), Named(2), shapes)
    widths = (64, 1280, 1281)
    assert [session.run(np.zeros((1, 3, 48, w), np.float32))[0] for w in widths] == [1, 1, 2]
    assert session.metadata == {"character": "a"}


@pytest.mark.parametrize(("provider", "named"), [("cuda", CUDA), ("tensorrt", TENSORRT)])
def test_a_build_without_the_provider_is_refused(provider: str, named: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if named in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has it")
    with pytest.raises(UnsupportedError, match=f"this ONNX Runtime has no {named}"):
        open_session(resolve("cls", "v2_mobile"), options("rec", provider=provider), "cuda:0")


def test_onnx_runtime_is_not_for_apples_gpus() -> None:
    with pytest.raises(UnsupportedError, match="choose torch for mps"):
        open_session(resolve("cls", "v2_mobile"), stage_options(runtime="onnxruntime"), "mps")
