"""OnnxTR: the models of docTR in ONNX Runtime (https://github.com/felixdittrich92/OnnxTR).

Settings are those of `ocr_predictor` and of the `EngineConfig` that it is given. Left out because they do nothing
here: `detect_orientation` and `detect_language` only add to the export. `disable_page_orientation` changes which
words are cut out only; version 0.9 loads that model all the same.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engines import mindee
from engines.interface import (
    Choice,
    Knob,
    Machine,
    Ordered,
    OutOfMemoryError,
    Page,
    PageText,
    Settings,
    StageTimer,
    UnsupportedError,
)

_LIBRARY = "onnxtr"
_RECO_BS = 512
# The builds of ONNX Runtime exclude each other: each brings execution providers of its own.
_BUILDS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino")
_CUDNN_SEARCH = ("DEFAULT", "HEURISTIC", "EXHAUSTIVE")


def summary() -> str:
    """What it is, with the licence of code and weights."""
    return (
        "OnnxTR: docTR's detectors and readers of words in ONNX Runtime or OpenVINO "
        "(code and weights Apache-2.0)"
    )


def packages() -> tuple[str, ...]:
    """Distributions whose versions decide what it does."""
    return (_LIBRARY, *_BUILDS)


def unusable(machine: Machine) -> str | None:
    """Why it cannot run here, None where it can."""
    del machine  # a CPU is enough
    for module in (_LIBRARY, "onnxruntime"):
        if find_spec(module) is None:
            return f"the package {module} is not installed; run `pip install 'ocr-tune[onnxtr]'`"
    return mindee.missing_defaults(_LIBRARY)


def fetch() -> Iterator[str]:
    """Bring the weights of every architecture into the library's cache, 8-bit ones too; a sentence for each."""
    yield from mindee.fetch(_LIBRARY)
    yield from mindee.fetch(_LIBRARY, "url_8_bit")


def knobs(machine: Machine) -> tuple[Knob, ...]:
    """What can be set. The defaults are those of `ocr_predictor` and of `EngineConfig`."""
    runtimes = Choice(_runtimes(machine))
    runtime = "what runs the model: ONNX Runtime itself on the device, or a provider that its build brings"
    threads = Ordered((0, *range(1, machine.cores + 1)))
    search = Choice(_CUDNN_SEARCH)
    own = {"det_runtime": ("onnxruntime",)}
    return (
        *mindee.knobs(_LIBRARY, _RECO_BS),
        Knob("load_in_8_bit", "pipeline", Choice((False, True)), False, "8-bit weights; FAST has none",
             changes_text=True),
        Knob("det_runtime", "detect", runtimes, runtimes.values[0], runtime, changes_text=True),
        Knob("reco_runtime", "recognise", runtimes, runtimes.values[0], runtime, changes_text=True),
        Knob("threads", "pipeline", threads, 0, "threads in an operator; 0: as many as the runtime takes"),
        *((Knob("cudnn_search", "detect", search, "DEFAULT", "cudnn_conv_algo_search", own),)
          if machine.gpus else ()),
    )  # fmt: skip


def _runtimes(machine: Machine) -> tuple[str, ...]:
    """What the installed build of ONNX Runtime has, by its name: importing it is for the worker."""
    found = ["onnxruntime"]
    if _installed("onnxruntime-openvino"):
        found.append("openvino")
    if machine.gpus and _installed("onnxruntime-gpu"):
        found.append("tensorrt")
    return tuple(found)


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


@contextmanager
def open(settings: Settings, device: str, timer: StageTimer) -> Iterator["_Reader"]:
    """OnnxTR on `device` ("cpu", "cuda:0", ...). Nothing is downloaded.

    Raises UnsupportedError where weights or an execution provider are missing.
    """
    if not re.fullmatch(r"cpu|cuda:\d+", device):
        raise UnsupportedError(f"onnxtr does not run on {device!r}; choose --device cpu or cuda:0")
    key = "url_8_bit" if settings["load_in_8_bit"] else "url"
    files = mindee.needed(_LIBRARY, settings, key)
    yield _Reader(_predictor(files, settings, device, timer), timer)


def _predictor(files: tuple[Path, Path], settings: Settings, device: str, timer: StageTimer) -> Any:
    from onnxtr.models import detection, ocr_predictor, recognition

    detect_config = _engine_config(settings, device, str(settings["det_runtime"]))
    read_config = _engine_config(settings, device, str(settings["reco_runtime"]))
    arguments: dict[str, Any] = {**mindee.arguments(settings)}
    predictor: Any = ocr_predictor(
        _model(detection, "detection", files[0], settings["det_arch"], detect_config),
        _model(recognition, "recognition", files[1], settings["reco_arch"], read_config),
        clf_engine_cfg=read_config,
        **arguments,
    )
    predictor.det_predictor = mindee.timed(predictor.det_predictor, timer, "detect")
    predictor.reco_predictor = mindee.timed(predictor.reco_predictor, timer, "recognise")
    return predictor


def _model(zoo: Any, part: mindee.Part, file: Path, setting: object, config: Any) -> Any:
    name, _ = mindee.chosen(_LIBRARY, part, str(setting))
    try:
        return getattr(zoo, name)(str(file), engine_cfg=config)
    except Exception as error:  # ONNX Runtime's own have no base but this one
        reason = str(error).strip().partition("\n")[0]
        raise UnsupportedError(f"onnxtr: {file} cannot be loaded as {name}: {reason}") from error


def _engine_config(settings: Settings, device: str, runtime: str) -> Any:
    """The library's own configuration of a session, but for what is set."""
    import onnxruntime
    from onnxtr.models.engine import EngineConfig

    provider, options = _provider(settings, device, runtime)
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise UnsupportedError(
            f"onnxtr: ONNX Runtime {onnxruntime.__version__} has no {provider}, only {', '.join(available)}; "
            "install the build of onnxruntime that has it"
        )
    config = EngineConfig(providers=[(provider, options)])
    if threads := int(settings["threads"]):
        config.session_options.intra_op_num_threads = threads
        config.session_options.inter_op_num_threads = 1
    return config


def _provider(settings: Settings, device: str, runtime: str) -> tuple[str, dict[str, str]]:
    kind, _, index = device.partition(":")
    if runtime == "openvino":
        if kind != "cpu":
            raise UnsupportedError(f"onnxtr: openvino runs on a CPU, not on {device}; choose onnxruntime")
        threads = {"num_of_threads": str(settings["threads"])} if settings["threads"] else {}
        return "OpenVINOExecutionProvider", {"device_type": "CPU", **threads}
    if kind == "cpu":
        if runtime != "onnxruntime":
            raise UnsupportedError(f"onnxtr: {runtime} needs a GPU; choose --device cuda:0 or onnxruntime")
        return "CPUExecutionProvider", {"arena_extend_strategy": "kSameAsRequested"}
    if runtime == "tensorrt":
        return "TensorrtExecutionProvider", {"device_id": index}
    return "CUDAExecutionProvider", {
        "device_id": index,
        "arena_extend_strategy": "kNextPowerOfTwo",
        "cudnn_conv_algo_search": str(settings.get("cudnn_search", "DEFAULT")),
        "do_copy_in_default_stream": "1",
    }


class _Reader:
    def __init__(self, predictor: Any, timer: StageTimer) -> None:
        self._words = mindee.WordReader(predictor, timer)

    def read(self, pages: Sequence[Page]) -> list[PageText]:
        """All pages in one call."""
        from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

        try:
            return self._words.read(pages)
        except RuntimeException as error:
            if "alloc" in str(error).lower():
                raise OutOfMemoryError(str(error).partition("\n")[0]) from error
            raise
