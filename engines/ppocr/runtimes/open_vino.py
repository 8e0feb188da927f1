"""OpenVINO on the CPU."""

from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engines.interface import (
    Choice,
    Knob,
    Layer,
    Machine,
    Ordered,
    Settings,
    Stage,
    UnsupportedError,
    core_counts,
)
from engines.ppocr.runtimes.session import Result, Session, Tensor

FORMAT = "onnx"
PRECISIONS = ("f32", "bf16", "f16")


def absence(machine: Machine) -> str | None:
    """Why it cannot run here; where there is a GPU, why it cannot run there."""
    if find_spec("openvino") is None:
        return "not installed; run `pip install openvino`"
    return "on the CPU only: set det_device=cpu or rec_device=cpu for its stage" if machine.gpus else None


def knobs(prefix: str, stage: Stage, machine: Machine) -> Iterator[Knob]:
    """What OpenVINO can be told for one stage; `prefix` begins the names."""
    when = {f"{prefix}_runtime": ("openvino",)}
    yield Knob(
        f"{prefix}_precision",
        stage,
        Choice(PRECISIONS),
        "f32",
        "number format that OpenVINO may compute in",
        when,
        changes_text=True,
    )
    yield Knob(
        f"{prefix}_shape_cache",
        stage,
        Ordered((500, 1000, 2000, 5000), low=0, high=100_000),
        5000,
        "kernels of each kind that OpenVINO keeps for the shapes it has met, those used last; a shape takes 13 to 25 "
        "convolutions and 1 to 7 MiB in all, and is compiled again once it is forgotten",
        when,
    )
    if prefix == "rec":  # one page is one call of the detector: there is nothing to overlap
        yield Knob(
            f"{prefix}_streams",
            stage,
            Ordered(core_counts(machine.cores), high=max(machine.cores, 1)),
            1,
            f"batches at work at the same time, sharing {prefix}_threads",
            when,
        )


def open(path: Path, options: Settings, device: str) -> Session:
    """Load the model at `path`; `options` are the knobs of the stage without its prefix."""
    if device != "cpu":
        raise UnsupportedError(
            f"OpenVINO runs on the CPU only here; choose onnxruntime or torch for {device}"
        )
    streams = int(options.get("streams", 1))
    return OpenVinoStreams(path, options, streams) if streams > 1 else OpenVinoSession(path, options)


class OpenVinoSession(Session):
    """A model in OpenVINO on the CPU.

    One infer request is used again and again: a request per call would keep the buffers of every shape seen.
    Kernels are kept for every shape as well: without a bound that is met early, memory grows for thousands of pages.
    """

    def __init__(self, path: Path, options: Settings, streams: int = 1) -> None:
        import openvino as ov

        core = ov.Core()
        model = core.read_model(path)
        self.metadata = _framework_info(model)
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": str(options["precision"]),
            "NUM_STREAMS": str(streams),
            # Each process would pin its threads to the same first cores; binding replicas is the pipeline's part.
            "ENABLE_CPU_PINNING": False,
            "CPU_RUNTIME_CACHE_CAPACITY": str(options["shape_cache"]),
        }
        self._timed: dict[tuple[str, str, str], list[float]] | None = None
        if options.get("profile"):
            config["PERF_COUNT"] = "YES"
            self._timed = {}
        if options["threads"]:
            config["INFERENCE_NUM_THREADS"] = str(options["threads"])
        self._compiled = core.compile_model(model, "CPU", config)
        self._request = self._compiled.create_infer_request()

    def run(self, x: Tensor) -> Tensor:
        """See `Session.run`."""
        self._request.infer({0: x}, share_inputs=True)
        if self._timed is not None:
            for layer in self._request.profiling_info:
                if layer.status == layer.Status.EXECUTED:
                    key = (layer.node_name, layer.node_type, layer.exec_type)
                    self._timed.setdefault(key, []).append(1000 * layer.real_time.total_seconds())
        output: Tensor = self._request.get_output_tensor(0).data
        return output

    def layers(self, model: str) -> list[Layer]:
        """See `Session.layers`."""
        return [
            Layer(model, *key, calls=len(spent), total_ms=sum(spent))
            for key, spent in (self._timed or {}).items()
        ]


class OpenVinoStreams(OpenVinoSession):
    """The same with several batches in flight, one request each."""

    def __init__(self, path: Path, options: Settings, streams: int) -> None:
        import openvino as ov

        super().__init__(path, options, streams)
        self._queue = ov.AsyncInferQueue(self._compiled, streams)

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
