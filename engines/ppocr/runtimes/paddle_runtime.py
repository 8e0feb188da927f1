"""Paddle's own inference runtime, on the CPU or on one CUDA device, for model folders as PaddleOCR has them."""

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engines.interface import Choice, Knob, Machine, Settings, Stage, UnsupportedError
from engines.ppocr.runtimes.session import Session, Tensor

FORMAT = "paddle"
WEIGHTS = ".pdiparams"
_GPU_POOL_MIB = 512
_REMEDY = "run `pip install paddlepaddle`, best in an environment of its own"


def absence(machine: Machine) -> str | None:
    """Why it cannot run here."""
    del machine  # a CPU is enough; whether it has CUDA only Paddle itself can tell
    return f"not installed; {_REMEDY}" if find_spec("paddle") is None else None


def knobs(prefix: str, stage: Stage, machine: Machine) -> Iterator[Knob]:
    """What Paddle can be told for one stage; `prefix` begins the names."""
    del machine  # what it has changes the device only
    when = {f"{prefix}_runtime": ("paddle",)}
    yield Knob(
        f"{prefix}_onednn",
        stage,
        Choice((False, True)),
        True,
        "run on oneDNN's kernels on the CPU; some processors crash in them",
        when,
        changes_text=True,
    )


def open(path: Path, options: Settings, device: str) -> Session:
    """Load the network at `path` (`inference.json`), whose weights lie beside it, on "cpu" or "cuda:N"."""
    weights = path.with_suffix(WEIGHTS)
    if path.suffix not in (".json", ".pdmodel") or not weights.is_file():
        raise UnsupportedError(
            f"the runtime paddle reads inference.json beside inference{WEIGHTS}, not {path.name}: choose another "
            "runtime for it, or set use_cls=false if it is the direction classifier"
        )
    return PaddleSession(path, weights, options, device)


class PaddleSession(Session):
    """A model in Paddle."""

    def __init__(self, network: Path, weights: Path, options: Settings, device: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of compilers that it might use one day
                import paddle
                from paddle import inference
        except ImportError as error:
            raise UnsupportedError(f"the runtime paddle needs paddlepaddle: {_REMEDY}") from error
        config = inference.Config(str(network), str(weights))
        config.disable_glog_info()
        if device == "cpu":
            _on_cpu(config, options)
        elif not device.startswith("cuda:") or not paddle.is_compiled_with_cuda():
            raise UnsupportedError(
                f"this Paddle cannot run on {device}: install paddlepaddle-gpu, or choose --device cpu"
            )
        else:
            config.enable_use_gpu(_GPU_POOL_MIB, int(device.partition(":")[2]))
        self._predictor = inference.create_predictor(config)
        self._input = self._predictor.get_input_handle(self._predictor.get_input_names()[0])
        self._output = self._predictor.get_output_handle(self._predictor.get_output_names()[0])
        self.metadata = {}

    def run(self, x: Tensor) -> Tensor:
        """See `Session.run`; here the output is the caller's own."""
        self._input.reshape(list(x.shape))
        self._input.copy_from_cpu(x)
        self._predictor.run()
        output: Tensor = self._output.copy_to_cpu()
        return output


def _on_cpu(config: Any, options: Settings) -> None:
    config.disable_gpu()
    if options["threads"]:
        config.set_cpu_math_library_num_threads(int(options["threads"]))
    if options["onednn"]:
        config.enable_mkldnn()
    else:
        config.disable_mkldnn()
