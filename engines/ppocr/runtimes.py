"""One interface over the runtimes that a stage may choose from: a tensor in, a tensor out."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.interface import OutOfMemoryError, Settings, UnsupportedError

RUNTIMES = ("onnxruntime", "openvino")
_ORT_LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
GRAPH_LEVELS = tuple(_ORT_LEVELS)
PRECISIONS = ("f32", "bf16", "f16")

Tensor = NDArray[np.float32]
Result = TypeVar("Result")

_ALLOCATION = re.compile(
    r"bad[ _]alloc|(failed|unable|not able|cannot) to allocate|cannot allocate memory|out of memory"
    r"|insufficient memory|could not create a memory|allocat\w+ \d+ bytes",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How one stage runs its model. A thread count of 0 leaves it to the runtime."""

    runtime: str
    threads: int
    precision: str = "f32"
    streams: int = 1
    arena: bool = False
    mem_pattern: bool = True
    spinning: bool = True
    graph_level: str = "all"

    @classmethod
    def of(cls, stage: str, settings: Settings) -> "RuntimeOptions":
        """The options of stage `det` or `rec`. Knobs that do not act with this runtime may be left out."""
        given = {
            field: settings[name]
            for field, name in (
                ("precision", f"{stage}_precision"),
                ("streams", f"{stage}_streams"),
                ("arena", f"{stage}_arena"),
                ("mem_pattern", f"{stage}_mem_pattern"),
                ("spinning", f"{stage}_spinning"),
                ("graph_level", f"{stage}_graph_level"),
            )
            if name in settings
        }
        fields: dict[str, Any] = {
            "runtime": settings[f"{stage}_runtime"],
            "threads": settings[f"{stage}_threads"],
            **given,
        }
        return cls(**fields)


class Session(ABC):
    """A model that is loaded and ready. Used by one thread at a time."""

    metadata: Mapping[str, str]
    """What the model file says of itself."""

    @abstractmethod
    def run(self, x: Tensor) -> Tensor:
        """The first output for the batch `x` of shape (N, C, H, W).

        It may lie in the runtime's own buffer: it is valid until the next call.
        """

    def map(self, batches: Iterable[Tensor], use: Callable[[Tensor], Result]) -> list[Result]:
        """`use(run(batch))` for every batch, in order; `use` may run in another thread."""
        return [use(self.run(batch)) for batch in batches]


class OnnxRuntimeSession(Session):
    """A model in ONNX Runtime, on the CPU or on one CUDA device."""

    def __init__(self, path: Path, options: RuntimeOptions, device: str) -> None:
        import onnxruntime as ort

        config = ort.SessionOptions()
        config.log_severity_level = 4
        config.intra_op_num_threads = options.threads
        config.enable_cpu_mem_arena = options.arena
        config.enable_mem_pattern = options.mem_pattern
        config.graph_optimization_level = getattr(
            ort.GraphOptimizationLevel, _ORT_LEVELS[options.graph_level]
        )
        config.add_session_config_entry("session.intra_op.allow_spinning", str(int(options.spinning)))
        self._session = ort.InferenceSession(str(path), config, providers=_providers(device))
        if device != "cpu" and self._session.get_providers()[0] != "CUDAExecutionProvider":
            raise UnsupportedError(f"ONNX Runtime could not start CUDA on {device}; see `tune doctor`")
        self.metadata = self._session.get_modelmeta().custom_metadata_map
        self._input = self._session.get_inputs()[0].name
        self._outputs = [self._session.get_outputs()[0].name]

    def run(self, x: Tensor) -> Tensor:
        """See `Session.run`; here the output is the caller's own."""
        output: Tensor = self._session.run(self._outputs, {self._input: x})[0]
        return output


def _providers(device: str) -> list[Any]:
    import onnxruntime as ort

    if device == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise UnsupportedError(
            f"this ONNX Runtime has no CUDA, so it cannot run on {device}; "
            "run `pip uninstall onnxruntime` and then `pip install onnxruntime-gpu`, or choose --device cpu"
        )
    # Every line width is a new shape: an exhaustive search for the fastest kernel would start over each time.
    cuda = {"device_id": int(device.partition(":")[2] or 0), "cudnn_conv_algo_search": "HEURISTIC"}
    return [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]


class OpenVinoSession(Session):
    """A model in OpenVINO on the CPU.

    One infer request is used again and again: a request per call would keep the buffers of every shape seen.
    """

    def __init__(self, path: Path, options: RuntimeOptions) -> None:
        import openvino as ov

        core = ov.Core()
        model = core.read_model(path)
        self.metadata = _framework_info(model)
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": options.precision,
            "NUM_STREAMS": str(options.streams),
            # Each process would pin its threads to the same first cores; binding replicas is the pipeline's part.
            "ENABLE_CPU_PINNING": False,
        }
        if options.threads:
            config["INFERENCE_NUM_THREADS"] = str(options.threads)
        self._compiled = core.compile_model(model, "CPU", config)
        self._request = self._compiled.create_infer_request()

    def run(self, x: Tensor) -> Tensor:
        """See `Session.run`."""
        self._request.infer({0: x}, share_inputs=True)
        output: Tensor = self._request.get_output_tensor(0).data
        return output


class OpenVinoStreams(OpenVinoSession):
    """The same with several batches in flight, one request each."""

    def __init__(self, path: Path, options: RuntimeOptions) -> None:
        import openvino as ov

        super().__init__(path, options)
        self._queue = ov.AsyncInferQueue(self._compiled, options.streams)

    def map(self, batches: Iterable[Tensor], use: Callable[[Tensor], Result]) -> list[Result]:
        """See `Session.map`; `use` runs in the threads of the requests."""
        results: dict[int, Result] = {}

        def done(request: Any, index: int) -> None:
            results[index] = use(request.get_output_tensor(0).data)

        self._queue.set_callback(done)
        for index, batch in enumerate(batches):
            self._queue.start_async({0: batch}, index)
        self._queue.wait_all()
        return [results[index] for index in range(len(results))]


def _framework_info(model: Any) -> dict[str, str]:
    info = model.get_rt_info()
    if "framework" not in info:
        return {}
    return {key: str(value.value) for key, value in info["framework"].items()}


def open_session(path: Path, options: RuntimeOptions, device: str) -> Session:
    """Load the model at `path`.

    Raises UnsupportedError where the runtime does not run on `device` or cannot read the file.
    """
    if options.runtime == "openvino" and device != "cpu":
        raise UnsupportedError(f"OpenVINO runs on the CPU only here; choose onnxruntime for {device}")
    try:
        with allocation_failures():
            if options.runtime == "onnxruntime":
                return OnnxRuntimeSession(path, options, device)
            return OpenVinoStreams(path, options) if options.streams > 1 else OpenVinoSession(path, options)
    except (UnsupportedError, OutOfMemoryError, ImportError):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[-1]
        raise UnsupportedError(f"{options.runtime} cannot load {path}: {reason}") from error


@contextmanager
def allocation_failures() -> Iterator[None]:
    """Turn what numpy, OpenCV and the runtimes raise when memory runs out into OutOfMemoryError."""
    try:
        yield
    except Exception as error:
        # The runtimes have no type of their own for it: the message is all there is, here or in a cause.
        for cause in _causes(error):
            if isinstance(cause, MemoryError) or _ALLOCATION.search(str(cause)):
                raise OutOfMemoryError(
                    next(iter(str(cause).strip().splitlines()), "out of memory")
                ) from cause
        raise


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
