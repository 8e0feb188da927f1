"""What the engines on PyTorch share: their device, threads, precision and compiler."""

import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engines.interface import (
    Choice,
    Knob,
    Machine,
    Ordered,
    OutOfMemoryError,
    Settings,
    Stage,
    StageTimer,
    UnsupportedError,
)

COMPILE_MODES = ("default", "reduce-overhead", "max-autotune")
_DYNAMIC = {"auto": None, "yes": True, "no": False}
_METRICS_LIMIT = 4096
_SHAPES_LIMIT = 64
_DTYPES = ("bfloat16", "float16")


def thread_knob(machine: Machine) -> Knob:
    """Threads inside an operator."""
    threads = Ordered((0, *range(1, machine.cores + 1)))
    return Knob("threads", "pipeline", threads, 0, "threads in an operator; 0: as many as PyTorch takes")


def compile_knobs(part: str, stage: Stage) -> tuple[Knob, ...]:
    """The arguments of torch.compile for one model of an engine."""
    name, on = f"{part}_compile", {f"{part}_compile": COMPILE_MODES}
    modes, choice = Choice(("off", *COMPILE_MODES)), Choice(tuple(_DYNAMIC))
    dynamic = "one graph for all shapes (dynamic): auto once a shape has changed"
    return (
        Knob(name, stage, modes, "off", "mode of torch.compile", changes_text=True),
        Knob(
            f"{part}_fullgraph",
            stage,
            Choice((False, True)),
            False,
            "refuse graph breaks (fullgraph)",
            on,
            changes_text=True,
        ),
        Knob(f"{part}_dynamic", stage, choice, "auto", dynamic, on, changes_text=True),
    )


def model_knobs(part: str, stage: Stage) -> tuple[Knob, ...]:
    """What PyTorch can be told for one convolutional model of an engine: compiler, precision, layout."""
    either, dtypes = Choice((False, True)), Choice(("off", *_DTYPES))
    lower, together = "lower precision by torch.autocast", "keep the channels of a pixel together in memory"
    return (
        *compile_knobs(part, stage),
        Knob(f"{part}_autocast", stage, dtypes, "off", lower, changes_text=True),
        Knob(f"{part}_channels_last", stage, either, False, together, changes_text=True),
    )


def prepared(model: Any, settings: Settings, device: str, part: str) -> Any:
    """The model as the `model_knobs` of `part` say; its outputs stay float32. Errors as `compiled`."""
    import torch

    if settings[f"{part}_channels_last"]:
        # Convolutions follow the layout of their weights.
        model = model.to(memory_format=torch.channels_last)
    if settings[f"{part}_autocast"] != "off":
        cast = torch.autocast(device.partition(":")[0], getattr(torch, str(settings[f"{part}_autocast"])))
        model.forward = cast(model.forward)
        model.register_forward_hook(lambda _module, _inputs, output: _floats(output))
    return compiled(model, settings, part)


def compiled(model: Any, settings: Settings, part: str) -> Any:
    """The model, or its lazily compiled twin as the knobs of `part` say.

    Raises UnsupportedError where there is no compiler for the generated code.
    """
    mode = settings[f"{part}_compile"]
    if mode == "off":
        return model
    import torch

    if shutil.which(os.environ.get("CXX", "g++")) is None:
        raise UnsupportedError(
            f"{part}_compile={mode} needs a C++ compiler; run `apt install g++` or set CXX, or switch it off"
        )
    from torch._dynamo import utils

    utils.set_compilation_metrics_limit(_METRICS_LIMIT)
    if settings[f"{part}_dynamic"] == "no":
        # Of the whole process. Beyond this many shapes PyTorch goes on without a graph, and 8 are soon seen.
        torch._dynamo.config.recompile_limit = _SHAPES_LIMIT
    return torch.compile(
        model,
        mode=None if mode == "default" else str(mode),
        fullgraph=bool(settings[f"{part}_fullgraph"]),
        dynamic=_DYNAMIC[str(settings[f"{part}_dynamic"])],
    )


def watch(settings: Settings, timer: StageTimer) -> None:
    """Let `timer` count what torch.compile does, where `settings` compile a model."""
    if any(name.endswith("_compile") and mode != "off" for name, mode in settings.items()):
        timer.watch(compilations)


def compilations() -> dict[str, float]:
    """What torch.compile has done in this process so far: seconds, graphs, recompilations, graph breaks.

    A recompilation is a further graph for code that has one already, most often for a new shape. The numbers are
    those of `torch._dynamo.utils`; PyTorch has no public ones.
    """
    from torch._dynamo import utils

    ids = [str(metrics.compile_id) for metrics in utils.get_compilation_metrics()]
    return {
        "compile_s": utils.cumulative_time_spent_ns["entire_frame_compile"] / 1e9,
        "compiled_graphs": float(utils.counters["stats"]["unique_graphs"]),
        # "frame/compilation", with "_attempt" where a graph break made it start over
        "recompilations": float(sum(not text.partition("_")[0].endswith("/0") for text in ids)),
        "graph_breaks": float(sum(utils.counters["graph_break"].values())),
    }


def _floats(output: Any) -> Any:
    """NumPy knows no bfloat16, so what leaves a model is float32."""
    if isinstance(output, tuple):
        return tuple(_floats(part) for part in output)
    return output.float()


@contextmanager
def running(engine: str, device: str, settings: Settings) -> Iterator[None]:
    """The device is there, and PyTorch has the threads that are set until the block ends.

    Weights are read without running what a pickle may hold. Raises UnsupportedError for another device.
    """
    if not re.fullmatch(r"cpu|cuda:\d+", device):
        raise UnsupportedError(f"{engine} does not run on {device!r}; choose --device cpu or cuda:0")
    # The libraries pass weights_only=False to torch.load; PyTorch lets this variable overrule them.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    import torch

    if device != "cpu" and int(device.partition(":")[2]) >= torch.cuda.device_count():
        raise UnsupportedError(f"{engine}: PyTorch {torch.__version__} finds no device {device}")
    before = torch.get_num_threads()
    if threads := int(settings["threads"]):
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def translated(engine: str) -> Iterator[None]:
    """PyTorch's own errors as those of the interface: no memory, or a model that cannot be compiled."""
    import torch
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise OutOfMemoryError(str(error)) from error
    except TorchDynamoException as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise UnsupportedError(f"{engine}: torch.compile cannot do this: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that are for the authors of a library; its users can do nothing about them."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning, RuntimeWarning, UserWarning):
            warnings.simplefilter("ignore", category)
        yield
