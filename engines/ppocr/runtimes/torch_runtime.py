"""PyTorch, eager or compiled, with the PP-OCR classes of Hugging Face's transformers and safetensors weights."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engines import pytorch
from engines.interface import Choice, Knob, Machine, Settings, Stage, UnsupportedError
from engines.ppocr.runtimes.session import Session, Tensor

FORMAT = "safetensors"
_LIMIT_BYTES = 1 << 30
# (kernel, channels in, channels out, stride, squeeze-and-excitation) of each block of the small detector's backbone.
_SMALL_DETECTOR = (
    ((3, 48, 48, 1, True), (3, 48, 48, 1, False)),
    ((3, 48, 96, 2, False), (3, 96, 96, 1, True), (3, 96, 96, 1, False)),
    (
        (3, 96, 192, 2, False),
        (3, 192, 192, 1, True),
        (3, 192, 192, 1, False),
        (3, 192, 192, 1, True),
        (3, 192, 192, 1, False),
    ),
    ((3, 192, 384, 2, False), (3, 384, 384, 1, True), (3, 384, 384, 1, False)),
)
_RECOGNITION_HEAD = "head.head.weight"
_MODULES = ("torch", "transformers", "safetensors")
_REMEDY = "run `pip install 'ocr-tune[torch]'`"


def absence(machine: Machine) -> str | None:
    """Why it cannot run here."""
    del machine  # a CPU is enough; whether it has CUDA only PyTorch itself can tell
    missing = [module for module in _MODULES if find_spec(module) is None]
    return f"not installed: {', '.join(missing)}; {_REMEDY}" if missing else None


def knobs(prefix: str, stage: Stage, machine: Machine) -> Iterator[Knob]:
    """What PyTorch can be told for one stage; `prefix` begins the names."""
    when = {f"{prefix}_runtime": ("torch",)}
    for knob in pytorch.model_knobs(prefix, stage):
        yield replace(knob, when={**when, **knob.when})
    if machine.gpus:
        either = Choice((False, True))
        tf32 = "products of float32 in TensorFloat-32"
        pinned = "copy batches to the GPU from memory that is never swapped"
        yield Knob(f"{prefix}_tf32", stage, either, False, tf32, when, changes_text=True)
        yield Knob(f"{prefix}_pinned", stage, either, False, pinned, when)


def open(path: Path, options: Settings, device: str) -> Session:
    """Load the safetensors file at `path` on "cpu", "cuda:N" or "mps"."""
    if path.suffix != ".safetensors":
        raise UnsupportedError(
            f"the runtime torch reads safetensors of PP-OCRv6 small, not {path.name}: choose another runtime for it, "
            "or set use_cls=false if it is the direction classifier"
        )
    return TorchSession(path, options, device)


class TorchSession(Session):
    """A model in PyTorch, in inference mode. Its first calls compile, where compilation is on."""

    def __init__(self, path: Path, options: Settings, device: str) -> None:
        try:
            import torch
            from safetensors.torch import load_file
        except ImportError as error:
            raise UnsupportedError(
                f"the runtime torch needs torch, transformers and safetensors: {_REMEDY}"
            ) from error
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise UnsupportedError(f"PyTorch {torch.__version__} finds no CUDA here; choose --device cpu")
        if device == "mps" and not torch.backends.mps.is_available():
            raise UnsupportedError(f"PyTorch {torch.__version__} finds no Metal here; choose --device cpu")
        if path.stat().st_size > _LIMIT_BYTES:
            raise UnsupportedError(f"{path} is larger than {_LIMIT_BYTES >> 20} MiB; it is no PP-OCR model")
        self._torch = torch
        self._device = device
        self._threads = int(options["threads"])
        self._tf32 = bool(options.get("tf32"))
        weights = load_file(path)
        with pytorch.quiet():
            model = _network(weights).eval()
        model.load_state_dict(weights)
        self._layout = torch.channels_last if options["channels_last"] else torch.contiguous_format
        model = model.to(device, memory_format=self._layout)
        chosen = {
            f"model_{name}": options[name] for name in ("compile", "fullgraph", "dynamic") if name in options
        }
        self._model = pytorch.compiled(model, chosen, "model")
        self._pinned = bool(options.get("pinned")) and device.startswith("cuda")
        self._precision = None if options["autocast"] == "off" else getattr(torch, str(options["autocast"]))
        self.metadata = {}

    def run(self, x: Tensor) -> Tensor:
        """See `Session.run`; here the output is the caller's own."""
        torch = self._torch
        if self._threads and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)  # of the whole process: the stages take turns
        kind = self._device.partition(":")[0]
        if kind == "cuda":  # of the whole process, too: each call says what it wants
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self._tf32
        with (
            pytorch.quiet(),
            pytorch.translated("ppocr"),
            torch.inference_mode(),
            torch.autocast(kind, self._precision, enabled=self._precision is not None),
        ):
            pixels = torch.from_numpy(x)
            if self._pinned:
                pixels = pixels.pin_memory()
            pixels = pixels.to(self._device, non_blocking=True, memory_format=self._layout)
            output: Tensor = self._model(pixels).last_hidden_state.float().cpu().numpy()
        return output


def _network(weights: dict[str, Any]) -> Any:
    """The network that the weights are of, with values drawn at random; recognition has a head of classes."""
    import transformers
    from transformers.models.pp_lcnet_v4.configuration_pp_lcnet_v4 import PPLCNetV4Config

    if _RECOGNITION_HEAD in weights:
        classes = weights[_RECOGNITION_HEAD].shape[0]
        return transformers.PPOCRV6SmallRecForTextRecognition(
            transformers.PPOCRV6SmallRecConfig(head_out_channels=classes)
        )
    backbone = PPLCNetV4Config(
        block_configs=[[list(block) for block in stage] for stage in _SMALL_DETECTOR],
        stem_channels=[3, 24, 48],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    channels = [stage[-1][2] for stage in _SMALL_DETECTOR]
    return transformers.PPOCRV6SmallDetForObjectDetection(
        transformers.PPOCRV6SmallDetConfig(layer_list_out_channels=channels, backbone_config=backbone)
    )
