"""ONNX Runtime, on the CPU or on one CUDA device."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.interface import Choice, Knob, Layer, Machine, Settings, Stage, UnsupportedError
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
        self._is_profiled = "profile" in options
        if self._is_profiled:
            config.enable_profiling = True
            config.profile_file_prefix = str(Path(str(options["profile"]), f"{path.parent.name}-{path.stem}"))
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

    def layers(self, model: str) -> list[Layer]:
        """See `Session.layers`; ONNX Runtime's own trace stays in the folder."""
        if not self._is_profiled:
            return []
        events = json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))
        found: dict[tuple[str, str, str], list[float]] = {}
        for event in events:
            # Before and after each kernel there are events of its own bookkeeping.
            if event.get("cat") == "Node" and str(event["name"]).endswith("_kernel_time"):
                name = str(event["name"]).removesuffix("_kernel_time")
                key = (name, event["args"]["op_name"], event["args"]["provider"])
                found.setdefault(key, []).append(event["dur"] / 1000)
        return [Layer(model, *key, calls=len(spent), total_ms=sum(spent)) for key, spent in found.items()]


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
