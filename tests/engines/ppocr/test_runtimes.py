import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines import ppocr
from engines.interface import Gpu, Machine, OutOfMemoryError, Settings, UnsupportedError
from engines.ppocr.models import resolve
from engines.ppocr.runtimes import Session, StageOptions, Tensor, allocation_failures, open_session
from engines.ppocr.runtimes.onnx_runtime import GRAPH_LEVELS, OnnxRuntimeSession
from engines.ppocr.runtimes.open_vino import OpenVinoSession, OpenVinoStreams
from tests.engines.ppocr import support
from tests.engines.support import ROOT

ONNX = support.stage_options(runtime="onnxruntime", threads=1)
OPENVINO = support.stage_options(runtime="openvino", threads=1)
STREAMS = support.stage_options(runtime="openvino", threads=2, streams=2)

MACHINE = Machine("test", cores=1, memory_mib=8192)

# Memory is capped, once a small page has been read, at what is then in use and a little more.
EXHAUST = """
import resource, sys
import numpy as np, psutil
from engines.interface import Machine, OutOfMemoryError, Page, StageTimer
from engines import ppocr
knobs = ppocr.knobs(Machine("test", cores=1, memory_mib=8192))
settings = {knob.name: knob.default for knob in knobs} | {
    "det_threads": 1, "rec_threads": 1, "use_cls": False, "max_side": 4000}
with ppocr.open(settings, "cpu", StageTimer()) as reader:
    reader.read([Page("small", np.full((64, 64, 3), 255, np.uint8))])
    large = Page("large", np.full((3000, 3000, 3), 255, np.uint8))
    limit = psutil.Process().memory_info().vms + (int(sys.argv[1]) << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        reader.read([large])
    except OutOfMemoryError:
        print("out of memory")
"""

# MiB that the last 16 of 56 new widths add: by then all buffers have been made, and holes in the heap are reused.
WIDTHS = """
import json, random, sys
from pathlib import Path
import numpy as np, psutil
from engines.ppocr.runtimes import open_session
session = open_session(Path(sys.argv[1]), json.loads(sys.argv[2]), "cpu")
resident = []
for width in [488, *random.Random(0).sample(range(40, 488, 8), 56)]:
    session.run(np.zeros((1, 3, 48, width), np.float32))
    resident.append(psutil.Process().memory_info().rss / 2**20)
print(resident[-1] - resident[-17])
"""


@pytest.fixture(scope="module")
def classifier() -> Path:
    """The smallest model that is always installed."""
    return resolve("cls", "v2_mobile")


@pytest.fixture(scope="module")
def batches() -> list[Tensor]:
    random = np.random.default_rng(1)
    return [random.uniform(-1, 1, (size, 3, 48, 192)).astype(np.float32) for size in (1, 3, 2, 5, 1, 4)]


def copied(session: Session, batches: list[Tensor]) -> list[Tensor]:
    return [session.run(batch).copy() for batch in batches]


def test_both_runtimes_give_the_same_numbers(classifier: Path, batches: list[Tensor]) -> None:
    onnx, openvino = (
        copied(open_session(classifier, options, "cpu"), batches) for options in (ONNX, OPENVINO)
    )
    assert [output.shape for output in onnx] == [(len(batch), 2) for batch in batches]
    for one, other in zip(onnx, openvino, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("options", [ONNX, OPENVINO, STREAMS])
def test_map_keeps_the_order_of_batches(classifier: Path, batches: list[Tensor], options: Settings) -> None:
    session = open_session(classifier, options, "cpu")
    mapped = session.map(iter(batches), np.copy)
    for one, other in zip(mapped, copied(session, batches), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("options", [ONNX, OPENVINO, STREAMS])
def test_an_error_in_map_comes_out(classifier: Path, batches: list[Tensor], options: Settings) -> None:
    def fail(output: Tensor) -> None:
        raise UnsupportedError("this output is of no use")

    with pytest.raises(Exception, match="this output is of no use"):
        open_session(classifier, options, "cpu").map(batches, fail)


@pytest.mark.parametrize("level", GRAPH_LEVELS)
def test_every_graph_level_opens(classifier: Path, batches: list[Tensor], level: str) -> None:
    options = {**ONNX, "arena": True, "mem_pattern": False, "spinning": False, "graph_level": level}
    expected = open_session(classifier, OPENVINO, "cpu").run(batches[0])
    np.testing.assert_allclose(open_session(classifier, options, "cpu").run(batches[0]), expected, atol=1e-4)


def test_options_choose_the_runtime(classifier: Path) -> None:
    chosen = ((ONNX, OnnxRuntimeSession), (OPENVINO, OpenVinoSession), (STREAMS, OpenVinoStreams))
    for options, kind in chosen:
        assert type(open_session(classifier, options, "cpu")) is kind


def test_the_options_of_a_stage_are_its_settings_without_the_prefix() -> None:
    settings: Settings = {"rec_runtime": "openvino", "rec_threads": 1, "det_threads": 2, "max_side": 960}
    assert dict(StageOptions("rec", settings)) == {"runtime": "openvino", "threads": 1}


def test_metadata_is_the_same_in_both_runtimes() -> None:
    recogniser = resolve("rec", "v6_small")
    onnx, openvino = (open_session(recogniser, options, "cpu").metadata for options in (ONNX, OPENVINO))
    assert len(onnx["character"].splitlines()) == 18708
    assert onnx["character"] == openvino["character"]


@pytest.mark.parametrize("options", [ONNX, OPENVINO])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, options: Settings) -> None:
    file = tmp_path / "model.onnx"
    file.write_text("not a model")
    with pytest.raises(UnsupportedError, match=f"{options['runtime']} cannot load .*model.onnx"):
        open_session(file, options, "cpu")


def test_openvino_forgets_the_kernels_of_shapes_beyond_its_cache() -> None:
    def grown_mib(kept: int) -> float:
        options = support.stage_options(runtime="openvino", threads=1, shape_cache=kept)
        command = [sys.executable, "-c", WIDTHS, str(resolve("rec", "v6_tiny")), json.dumps(dict(options))]
        return float(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout)

    assert grown_mib(0) < 12 < grown_mib(5000)


def test_openvino_does_not_run_on_cuda(classifier: Path) -> None:
    with pytest.raises(UnsupportedError, match="choose onnxruntime or torch for cuda:0"):
        open_session(classifier, OPENVINO, "cuda:0")


def test_onnx_runtime_without_cuda_says_what_to_install(classifier: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(UnsupportedError, match="pip install onnxruntime-gpu"):
        open_session(classifier, ONNX, "cuda:0")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces RLIMIT_AS")
@pytest.mark.parametrize("spare_mib", [20, 150], ids=["in OpenCV", "in ONNX Runtime"])
def test_memory_that_runs_out_is_an_out_of_memory_error(spare_mib: int) -> None:
    command = [sys.executable, "-c", EXHAUST, str(spare_mib)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "out of memory\n", done.stderr[-500:]


@pytest.mark.parametrize(
    "message",
    [
        "std::bad_alloc",
        "bad allocation",
        "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 4096",
        "OpenCV(5.0.0) error: (-4:Insufficient memory) Failed to allocate 4096 bytes",
        "CUDA failure 2: out of memory",
    ],
)
def test_messages_of_runtimes_that_lack_memory_are_known(message: str) -> None:
    with pytest.raises(OutOfMemoryError), allocation_failures():
        raise RuntimeError(message)


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="wrong shape"), allocation_failures():
        raise RuntimeError("wrong shape")


def test_a_runtime_that_is_not_installed_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not {"onnxruntime", "openvino"} & ppocr.absent(MACHINE).keys()
    for module in ("openvino", "paddle", "safetensors"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    absent = ppocr.absent(MACHINE)
    assert absent.keys() == {"openvino", "paddle", "torch"}
    assert all("not installed" in reason and "`pip install" in reason for reason in absent.values())
    assert "safetensors" in absent["torch"]


def test_what_cannot_use_the_gpu_of_a_machine_says_so() -> None:
    machine = Machine("test", cores=1, memory_mib=8192, gpus=(Gpu(0, "test", 8192, "1"),))
    assert "on the CPU only" in ppocr.absent(machine)["openvino"]
