"""What torch.compile does with one model of docTR. Each fact is told as it is found, for what comes next may crash.

A model is compiled twice: as a predictor calls it, post-processing included, and as a network alone, as it is
exported. The library keeps the compiler out of its post-processing, so that only the network can be one graph.
Outputs are compared before their sigmoid or softmax, relative to the largest of them: with random weights they are
as large as 1e5, where float32 itself ends at 1e-2. Support and numerics need no training, so weights are random
where there are none on this machine.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from engines import mindee, pytorch
from engines.doctr.matrix import published
from engines.mindee import Part

TOLERANCE = 1e-4
"""Largest difference from eager that counts as equal, as a share of eager's largest output."""
_BATCH = {"recognition": 8, "classification": 8}
_MORE = (1, 2)
"""Pages that are added to a batch to see whether another shape compiles anew."""
_CALLS = 5

Facts = Mapping[str, bool | int | float | str | None]


def compile_facts(model: str, device: str) -> Iterator[Facts]:
    """The facts of `model` (PART/ARCHITECTURE) on `device`, as they are found.

    `eager_ms` and `steady_ms` are medians of a batch, `cold_s` the first call with its compilation and nothing
    cached; `graph_breaks` and `recompilations` (for two more batch sizes) are those of the predictor's call,
    `fullgraph`, `difference` and `equal` those of the network. Raises UnsupportedError for a device that is not
    there.
    """
    part, _, name = model.partition("/")
    with pytorch.running("doctr", device, {"threads": 0}), _nothing_cached(), pytorch.quiet():
        import torch

        torch.manual_seed(0)
        weight = mindee.addresses("doctr", cast("Part", part)).get(name)
        trained = weight is not None and weight.file.is_file()
        network = _model(part, name, trained).to(device)
        shape = (_BATCH.get(part, 1), *network.cfg["input_shape"])
        pages = torch.rand(shape, device=device)
        yield {**published(model), "weights": "trained" if trained else "random", "batch": shape[0]}
        with torch.inference_mode():
            yield from _as_called(network, pages)
            torch._dynamo.reset()
            yield from _as_exported(network, pages)


def _as_called(network: Any, pages: Any) -> Iterator[Facts]:
    import torch
    from torch._dynamo.utils import counters

    flags = {"return_preds": True} if hasattr(network, "postprocessor") else {}
    yield {"eager_ms": _steady_ms(lambda: network(pages, **flags))}
    compiled = torch.compile(network)
    start = time.perf_counter()
    try:
        compiled(pages, **flags)
        _wait(pages)
        yield {"compiles": True, "cold_s": time.perf_counter() - start}
        yield {"graph_breaks": sum(counters["graph_break"].values())}
        yield {"steady_ms": _steady_ms(lambda: compiled(pages, **flags))}
        graphs = counters["stats"]["unique_graphs"]
        for more in _MORE:
            compiled(torch.cat([pages, pages[:1].expand(more, *pages.shape[1:])]), **flags)
        yield {"recompilations": counters["stats"]["unique_graphs"] - graphs}
    except Exception as error:  # noqa: BLE001  whatever a compiler raises is the finding
        yield {"compiles": False, "reason": _first_line(error)}


def _as_exported(network: Any, pages: Any) -> Iterator[Facts]:
    import torch

    if hasattr(network, "exportable"):
        network.exportable = True
    eager = _tensors(network(pages))
    for whole in (True, False):
        try:
            ours = _tensors(torch.compile(network, fullgraph=whole)(pages))
        except Exception as error:  # noqa: BLE001  as above
            yield {"fullgraph": False, "reason": _first_line(error)}
            torch._dynamo.reset()
            continue
        if whole:
            yield {"fullgraph": True}
        difference = _difference(ours, eager)
        equal = difference is not None and difference <= TOLERANCE
        yield {"difference": difference, "tolerance": TOLERANCE, "equal": equal}
        return


def _model(part: str, name: str, trained: bool) -> Any:
    """The architecture as a predictor holds it: FAST reparameterised, all in evaluation mode."""
    from doctr import models

    backbone = {} if part in {"classification", "layout"} else {"pretrained_backbone": False}
    model = getattr(getattr(models, part), name)(pretrained=trained, **backbone).eval()
    is_fast = isinstance(model, models.detection.FAST)
    return models.detection.fast.reparameterize(model) if is_fast else model


def _tensors(output: Any) -> list[Any]:
    return list(output.values()) if isinstance(output, dict) else [output]


def _difference(ours: list[Any], eager: list[Any]) -> float | None:
    """Largest difference, each output's relative to its largest value; None where shapes or what is finite differ."""
    import torch

    largest = 0.0
    for one, other in zip(ours, eager, strict=True):
        if one.shape != other.shape or not torch.equal(one.isfinite(), other.isfinite()):
            return None
        finite = other.isfinite()
        scale = float(other[finite].abs().max())
        largest = max(largest, float((one - other)[finite].abs().max()) / (scale or 1.0))
    return largest


def _steady_ms(call: Callable[[], object]) -> float:
    import torch

    times = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _wait(pages: Any) -> None:
    import torch

    if pages.is_cuda:
        torch.cuda.synchronize()


@contextmanager
def _nothing_cached() -> Iterator[None]:
    """A first call is cold only where no earlier run has left its kernels."""
    variable = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(variable)
    with tempfile.TemporaryDirectory(prefix="ocr-tune-", ignore_cleanup_errors=True) as folder:
        os.environ[variable] = folder
        try:
            yield
        finally:
            os.environ.pop(variable)
            if before is not None:
                os.environ[variable] = before


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
