"""What torch.compile does with one architecture of docTR: `python -m engines.doctr.measure PART NAME DEVICE`.

Prints what it has found as it finds it, a JSON object a line, for what comes next may crash.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, cast

from engines import mindee, pytorch
from engines.mindee import Part

TOLERANCE = 1e-4
"""Largest difference from eager that counts as equal, as a share of eager's largest output."""
_BATCH = {"detection": 1, "recognition": 8, "classification": 8}
_CALLS = 5


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def measure(part: Part, name: str, device: str) -> None:
    """Print the facts of one architecture, a JSON object a line."""
    import torch
    from torch._dynamo.utils import counters

    torch.manual_seed(0)
    weight = mindee.addresses("doctr", part).get(name)
    trained = weight is not None and weight.file.is_file()
    model = _model(part, name, trained).to(device)
    shape = model.cfg["input_shape"]
    pages = torch.rand((_BATCH[part], *shape), device=device)
    with torch.inference_mode():
        eager = _output(model, pages)
        _say(weights="trained" if trained else "random", eager_ms=_steady_ms(model, pages))
        compiled = torch.compile(model)
        start = time.perf_counter()
        try:
            difference = _difference(_output(compiled, pages), eager)
        except Exception as error:  # noqa: BLE001  whatever a compiler raises is the finding
            _say(compiles=False, fullgraph=False, reason=_first_line(error))
            return
        tolerance = TOLERANCE * max(1.0, float(eager.abs().max()))
        _say(
            compiles=True,
            cold_s=time.perf_counter() - start,
            difference=difference,
            tolerance=tolerance,
            equal=difference is not None and difference <= tolerance,
            graph_breaks=sum(counters["graph_break"].values()),
            steady_ms=_steady_ms(compiled, pages),
        )
        graphs = counters["stats"]["unique_graphs"]
        _output(compiled, torch.cat([pages, pages]))
        _say(recompilations=counters["stats"]["unique_graphs"] - graphs)
        torch._dynamo.reset()
        try:
            _output(torch.compile(model, fullgraph=True), pages)
            _say(fullgraph=True)
        except Exception as error:  # noqa: BLE001  as above
            _say(fullgraph=False, reason=_first_line(error))


def _model(part: Part, name: str, trained: bool) -> Any:
    """The architecture as a predictor holds it: FAST reparameterised, all in evaluation mode."""
    from doctr.models import classification, detection, recognition
    from doctr.models.detection.fast import reparameterize

    family = {"detection": detection, "recognition": recognition, "classification": classification}[part]
    extra = {} if part == "classification" else {"pretrained_backbone": False}
    model = getattr(family, name)(pretrained=trained, **extra).eval()
    return reparameterize(model) if isinstance(model, detection.FAST) else model


def _output(model: Callable[..., Any], pages: Any) -> Any:
    """What a predictor asks of it, post-processing included: the raw output, in float32."""
    if isinstance(found := model(pages, **_flags(model)), dict):
        found = found["out_map"]
    return found.float()


def _flags(model: Any) -> dict[str, bool]:
    return {"return_model_output": True, "return_preds": True} if hasattr(model, "postprocessor") else {}


def _difference(ours: Any, eager: Any) -> float | None:
    """Largest absolute difference; None where the shapes differ, as where a decoder stops elsewhere."""
    return float((ours - eager).abs().max()) if ours.shape == eager.shape else None


def _steady_ms(model: Any, pages: Any) -> float:
    import torch

    times = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        _output(model, pages)
        if pages.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


if __name__ == "__main__":
    with pytorch.running("doctr", sys.argv[3], {"threads": 0}):
        measure(cast("Part", sys.argv[1]), sys.argv[2], sys.argv[3])
