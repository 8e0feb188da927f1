"""ONNX Runtime, on the CPU or on one CUDA device."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.interface import Choice, Knob, Machine, Settings, Stage, UnsupportedError
from engines.ppocr.runtimes.session import Session, Tensor

FORMAT = "onnx"
GRAPH_LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


def knobs(prefix: str, stage: Stage, machine: Machine) -> Iterator[Knob]:
    """What ONNX Runtime can be told for one stage; `prefix` begins the names."""
    when = {f"{prefix}_runtime": ("onnxruntime",)}
    switch = Choice((False, True))
    yield Knob(f"{prefix}_arena", stage, switch, False, "keep freed memory for later calls", when)
    yield Knob(f"{prefix}_mem_pattern", stage, switch, True, "plan memory once for each shape", when)
    yield Knob(f"{prefix}_spinning", stage, switch, True, "idle threads wait busily for work", when)
    yield Knob(
        f"{prefix}_graph_level",
        stage,
        Choice(tuple(GRAPH_LEVELS)),
        "all",
        "how far ONNX Runtime rewrites the graph",
        when,
        changes_text=True,
    )


def open(path: Path, options: Settings, device: str) -> Session:
    """Load the model at `path`; `options` are the knobs of the stage without its prefix."""
    return OnnxRuntimeSession(path, options, device)


class OnnxRuntimeSession(Session):
    """A model in ONNX Runtime, on the CPU or on one CUDA device."""

    def __init__(self, path: Path, options: Settings, device: str) -> None:
        import onnxruntime as ort

        config = ort.SessionOptions()
        config.log_severity_level = 4
        config.intra_op_num_threads = int(options["threads"])
        config.enable_cpu_mem_arena = bool(options["arena"])
        config.enable_mem_pattern = bool(options["mem_pattern"])
        config.graph_optimization_level = getattr(
            ort.GraphOptimizationLevel, GRAPH_LEVELS[str(options["graph_level"])]
        )
        config.add_session_config_entry("session.intra_op.allow_spinning", str(int(options["spinning"])))
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
