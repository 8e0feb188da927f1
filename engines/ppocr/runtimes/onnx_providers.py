"""ONNX Runtime's providers for NVIDIA GPUs: what can be set on them, and what they are told. Pure.

Names of options: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html and
TensorRT-ExecutionProvider.html.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engines.interface import Choice, Knob, Machine, Ordered, Settings, Stage
from engines.ppocr.runtimes.devices import gpu_values

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
_ARENAS = {"power_of_two": "kNextPowerOfTwo", "as_requested": "kSameAsRequested"}
_LINE_HEIGHT = 48
_CELL = 32
"""The detector's image has sides that are multiples of this, in pixels."""

Provider = tuple[str, dict[str, str]]
Shape = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Profile:
    """The shapes (N, C, H, W) that one TensorRT engine is built for: the smallest, the usual and the largest."""

    least: Shape
    usual: Shape
    most: Shape

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether the engine runs a batch of that shape."""
        return len(shape) == len(self.least) and all(
            low <= size <= high for low, size, high in zip(self.least, shape, self.most, strict=True)
        )


def knobs(prefix: str, stage: Stage, machine: Machine) -> Iterator[Knob]:
    """What the GPU providers can be told for one stage; nothing on a machine without a GPU."""
    if not machine.gpus:
        return
    when = {f"{prefix}_runtime": ("onnxruntime",), f"{prefix}_device": gpu_values(machine)}
    switch = Choice((False, True))
    provider = f"{prefix}_provider"
    yield Knob(
        provider,
        stage,
        Choice(("cuda", "tensorrt")),
        "cuda",
        "what of ONNX Runtime runs on the GPU; TensorRT builds its engine at the first opening, for minutes",
        when,
        changes_text=True,
    )
    yield Knob(
        f"{prefix}_cudnn_search",
        stage,
        Choice(("heuristic", "exhaustive", "default")),
        # Every line width is a new shape: an exhaustive search for the fastest kernel starts over each time.
        "heuristic",
        "how cuDNN looks for the fastest convolution, anew for each shape",
        {**when, provider: ("cuda",)},
        changes_text=True,
    )
    yield Knob(
        f"{prefix}_gpu_arena",
        stage,
        Choice(tuple(_ARENAS)),
        "power_of_two",
        "how the pool of GPU memory grows",
        when,
    )
    most_mib = max(gpu.memory_mib for gpu in machine.gpus)
    yield Knob(
        f"{prefix}_gpu_memory_mib",
        stage,
        Ordered((0, *(mib for mib in (2048, 4096, 8192, 16384) if mib < most_mib)), high=most_mib),
        0,
        "limit of the pool of GPU memory of this stage; 0 sets none",
        when,
    )
    yield Knob(
        f"{prefix}_io_binding", stage, switch, False, "keep the buffers of each shape on the GPU", when
    )
    yield Knob(
        f"{prefix}_cuda_graph",
        stage,
        switch,
        False,
        "launch all kernels of a shape as one; for few shapes: see rec_width_bucket",
        {**when, f"{prefix}_io_binding": (True,)},
    )
    yield from _tensorrt_knobs(prefix, stage, {**when, provider: ("tensorrt",)})


def _tensorrt_knobs(prefix: str, stage: Stage, when: Mapping[str, tuple[bool | str, ...]]) -> Iterator[Knob]:
    yield Knob(
        f"{prefix}_trt_precision",
        stage,
        Choice(("f32", "f16", "bf16")),
        "f32",
        "number format that TensorRT may compute in",
        when,
        changes_text=True,
    )
    yield Knob(
        f"{prefix}_trt_level",
        stage,
        Ordered((3, 5), low=0, high=5),
        3,
        "how long TensorRT looks for faster kernels when it builds an engine",
        when,
        changes_text=True,
    )
    if prefix == "rec":
        yield Knob(
            "rec_trt_max_width",
            stage,
            Ordered((1280, 2560, 5120), low=320, high=20_000),
            2560,
            "widest batch in pixels that the engine is built for; the CUDA provider reads what is wider",
            when,
            changes_text=True,
        )


def wants_tensorrt(options: Settings) -> bool:
    """Whether the options of a stage choose TensorRT."""
    return options.get("provider") == "tensorrt"


def profile(options: Settings) -> Profile:
    """The shapes that the options of a stage (without its prefix) lead to."""
    if "trt_max_width" in options:
        batch, narrow, wide = (int(options[name]) for name in ("batch", "min_width", "trt_max_width"))
        return Profile(
            (1, 3, _LINE_HEIGHT, min(narrow, wide)),
            (batch, 3, _LINE_HEIGHT, min(max(narrow, 640), wide)),
            (batch, 3, _LINE_HEIGHT, wide),
        )
    side = _cells(int(options["side"]))
    if options["limit_type"] == "max":
        return Profile((1, 3, _CELL, _CELL), (1, 3, side, _cells(3 * side // 4)), (1, 3, side, side))
    # The short side is `side` long or longer; few pages are more than twice as long as wide.
    return Profile((1, 3, side, side), (1, 3, _cells(4 * side // 3), side), (1, 3, 2 * side, 2 * side))


def _cells(pixels: int) -> int:
    return -(-pixels // _CELL) * _CELL


@dataclass(frozen=True, slots=True)
class Engines:
    """Where TensorRT keeps its engines, and the name of the model's input, which profiles are told by."""

    input: str
    folder: Path


def providers(options: Settings, device: str, engines: Engines | None = None) -> list[Provider]:
    """The providers for a stage on `device` ("cuda:N"), the preferred one first: TensorRT only with `engines`."""
    number = device.partition(":")[2] or "0"
    graph = "1" if options.get("cuda_graph") else "0"
    cuda = {
        "device_id": number,
        "arena_extend_strategy": _ARENAS[str(options.get("gpu_arena", "power_of_two"))],
        "cudnn_conv_algo_search": str(options.get("cudnn_search", "heuristic")).upper(),
        "enable_cuda_graph": graph,
    }
    if limit_mib := int(options.get("gpu_memory_mib", 0)):
        cuda["gpu_mem_limit"] = str(limit_mib << 20)
    fallbacks: list[Provider] = [(CUDA, cuda), (CPU, {})]
    if engines is None:
        return fallbacks
    # Two providers that both capture a graph are refused; TensorRT holds the whole model.
    cuda["enable_cuda_graph"] = "0"
    shapes = profile(options)
    precision = options["trt_precision"]
    tensorrt = {
        "device_id": number,
        "trt_fp16_enable": str(int(precision == "f16")),
        "trt_bf16_enable": str(int(precision == "bf16")),
        "trt_builder_optimization_level": str(int(options["trt_level"])),
        "trt_cuda_graph_enable": graph,
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(engines.folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(engines.folder),
        "trt_profile_min_shapes": _shape(engines.input, shapes.least),
        "trt_profile_opt_shapes": _shape(engines.input, shapes.usual),
        "trt_profile_max_shapes": _shape(engines.input, shapes.most),
    }
    return [(TENSORRT, tensorrt), *fallbacks]


def engine_recipe(options: Settings, model_sha256: str, runtime: str) -> dict[str, str]:
    """What a TensorRT engine depends on beside the GPU and TensorRT, which TensorRT itself looks at.

    A cache that is named by the model alone goes on serving an engine of other shapes.
    """
    told = providers(options, "cuda:0", Engines("x", Path("engines")))[0][1]
    about = {
        name: value for name, value in told.items() if name not in ("device_id", "trt_cuda_graph_enable")
    }
    return {"model": model_sha256, "onnxruntime": runtime, **about}


def _shape(name: str, shape: Shape) -> str:
    return f"{name}:{'x'.join(str(size) for size in shape)}"
