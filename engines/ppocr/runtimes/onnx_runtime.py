"""ONNX Runtime, on the CPU or on one CUDA device."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engines.interface import Choice, Knob, Layer, Machine, Settings, Stage, UnsupportedError
from engines.ppocr import artefacts
from engines.ppocr.runtimes import onnx_providers
from engines.ppocr.runtimes.session import Session, Tensor
from engines.weights import sha256_of

FORMAT = "onnx"
GRAPH_LEVELS = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_MAX_GRAPHS = 64
"""Shapes that are captured as a CUDA graph. Each keeps its buffers for good; the others run uncaptured."""
_UNCAPTURED = "-1"
_REMEDY = "run `pip uninstall onnxruntime` and then `pip install onnxruntime-gpu`"


def absence(machine: Machine) -> str | None:
    """Why it cannot run here; where there is a GPU, why it cannot run there."""
    if find_spec("onnxruntime") is None:
        return "not installed; run `pip install onnxruntime`"
    if machine.gpus:
        try:
            version("onnxruntime-gpu")
        except PackageNotFoundError:
            return f"on the CPU only, for this build has no CUDA; {_REMEDY}"
    return None


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
    yield from onnx_providers.knobs(prefix, stage, machine)


def open(path: Path, options: Settings, device: str) -> Session:
    """Load the model at `path`; `options` are the knobs of the stage without its prefix."""
    if device == "cpu":
        return OnnxRuntimeSession(path, options, [(onnx_providers.CPU, {})])
    if not device.startswith("cuda:"):
        raise UnsupportedError(f"ONNX Runtime runs on the CPU and on CUDA here; choose torch for {device}")
    tensorrt = onnx_providers.wants_tensorrt(options)
    _require(onnx_providers.TENSORRT if tensorrt else onnx_providers.CUDA, device)
    kind = BoundSession if options.get("io_binding") else OnnxRuntimeSession
    cuda = kind(path, options, onnx_providers.providers(options, device))
    if not tensorrt:
        return cuda
    engines = artefacts.shared(onnx_providers.engine_recipe(options, sha256_of(path), cuda.version))
    providers = onnx_providers.providers(options, device, onnx_providers.Engines(cuda.input, engines))
    return ProfiledSession(kind(path, options, providers), cuda, onnx_providers.profile(options))


class OnnxRuntimeSession(Session):
    """A model in ONNX Runtime, on the first of some providers."""

    def __init__(self, path: Path, options: Settings, providers: list[onnx_providers.Provider]) -> None:
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
        self._session = ort.InferenceSession(str(path), config, providers=providers)
        wanted, found = providers[0][0], self._session.get_providers()[0]
        if found != wanted:  # it says so in its log only, and goes on with the next one
            raise UnsupportedError(f"ONNX Runtime could not start {wanted}; its libraries: see `tune doctor`")
        self._device_id = int(providers[0][1].get("device_id", 0))
        self.metadata = self._session.get_modelmeta().custom_metadata_map
        self.version = ort.__version__
        self.input = self._session.get_inputs()[0].name
        self._outputs = [self._session.get_outputs()[0].name]

    def run(self, x: Tensor) -> Tensor:
        """See `Session.run`; here the output is the caller's own."""
        output: Tensor = self._session.run(self._outputs, {self.input: x})[0]
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


@dataclass(slots=True)
class _Bound:
    """What one shape keeps on the GPU."""

    input: Any
    output: Any
    binding: Any
    graph: str


class BoundSession(OnnxRuntimeSession):
    """The same on a GPU with buffers that stay there, and a CUDA graph for each shape where that is set."""

    def __init__(self, path: Path, options: Settings, providers: list[onnx_providers.Provider]) -> None:
        super().__init__(path, options, providers)
        self._capture = bool(options.get("cuda_graph"))
        self._bound: dict[tuple[int, ...], _Bound] = {}

    def run(self, x: Tensor) -> Tensor:
        """See `Session.run`; the output is copied from the GPU."""
        import onnxruntime as ort

        bound = self._bound.get(x.shape)
        if bound is None:
            if len(self._bound) >= _MAX_GRAPHS:
                return self._once(x)
            bound = self._bound[x.shape] = self._bind(x)
        bound.input.update_inplace(x)
        how = ort.RunOptions()
        if self._capture:
            how.add_run_config_entry("gpu_graph_id", bound.graph)
        self._session.run_with_iobinding(bound.binding, how)
        output: Tensor = bound.output.numpy()
        return output

    def _bind(self, x: Tensor) -> _Bound:
        """Buffers for the shape of `x`; the shape of the output is known once the model has run."""
        import onnxruntime as ort

        shape = self._once(x).shape
        source, target = (
            ort.OrtValue.ortvalue_from_shape_and_type(list(size), x.dtype, "cuda", self._device_id)
            for size in (x.shape, shape)
        )
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self.input, source)
        binding.bind_ortvalue_output(self._outputs[0], target)
        return _Bound(source, target, binding, str(len(self._bound) + 1))

    def _once(self, x: Tensor) -> Tensor:
        import onnxruntime as ort

        how = ort.RunOptions()
        if self._capture:
            how.add_run_config_entry("gpu_graph_id", _UNCAPTURED)
        binding = self._session.io_binding()
        binding.bind_cpu_input(self.input, x)
        binding.bind_output(self._outputs[0], "cuda", self._device_id)
        self._session.run_with_iobinding(binding, how)
        output: Tensor = binding.copy_outputs_to_cpu()[0]
        return output


class ProfiledSession(Session):
    """TensorRT for the shapes that its engine was built for, the CUDA provider for all others."""

    def __init__(self, engine: Session, other: Session, profile: onnx_providers.Profile) -> None:
        self._engine, self._other, self._profile = engine, other, profile
        self.metadata = engine.metadata

    def run(self, x: Tensor) -> Tensor:
        """See `Session.run`."""
        return (self._engine if self._profile.admits(x.shape) else self._other).run(x)


def _require(provider: str, device: str) -> None:
    import onnxruntime as ort

    if provider not in ort.get_available_providers():
        raise UnsupportedError(
            f"this ONNX Runtime has no {provider}, so it cannot run on {device} as set; "
            f"{_REMEDY}, or choose --device cpu"
        )
