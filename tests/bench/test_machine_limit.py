"""How far from the machine's limit the kernels run, and what share of the time is not theirs.

Multiply-adds of the models on the very shapes that they were given, over the rate of a large matrix product on one
thread, against the processor time that was spent.
"""

import math
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from engines.interface import Page, Settings, StageTimer
from engines.ppocr import open as open_ppocr
from engines.ppocr.models import resolve
from engines.ppocr.runtimes.open_vino import OpenVinoSession
from harness.data import decode, load
from harness.machine import detect
from harness.space import Space
from tests.bench.test_memory_slope import EMITTED

SIDE = 2048
PAGES = 12
CASES = {
    "tiny f32": {"rec_precision": "f32", "det_precision": "f32"},
    "tiny bf16": {"rec_precision": "bf16", "det_precision": "bf16"},
    "small f32": {"rec_precision": "f32", "det_precision": "f32", "rec_model": "v6_small"},
    "small bf16": {"rec_precision": "bf16", "det_precision": "bf16", "rec_model": "v6_small"},
}


def multiply_adds(path: Path, shape: tuple[int, ...]) -> int:
    """Multiply-adds of one call on an input of `shape`: those of convolutions and matrix products."""
    model = ov.Core().read_model(path)
    model.reshape(ov.PartialShape(list(shape)))

    def sizes(port: Any) -> list[int]:
        # Where the graph computes a shape, the batch is what stays unknown.
        return [size.get_length() if size.is_static else shape[0] for size in port.get_partial_shape()]

    total = 0
    for op in model.get_ordered_ops():
        kind = op.get_type_name()
        if kind in ("Convolution", "GroupConvolution"):
            weights = list(op.input(1).get_shape())
            # (out, in, ...) or, with groups, (groups, out, in, ...): what one output value sums over.
            total += math.prod(op.output(0).get_shape()) * math.prod(weights[2 if len(weights) > 4 else 1 :])
        elif kind == "ConvolutionBackpropData":
            weights = list(op.input(1).get_shape())
            total += math.prod(op.input(0).get_shape()) * math.prod(weights[1:])
        elif kind == "MatMul":
            left = sizes(op.input(0))
            inner = left[-2] if op.get_attributes()["transpose_a"] else left[-1]
            total += math.prod(sizes(op.output(0))) * inner
    return total


def peak_gmac_s(precision: str) -> float:
    """Multiply-adds a second, in 1e9, of a large matrix product in OpenVINO on one thread."""
    left = ops.parameter([SIDE, SIDE], ov.Type.f32)
    right = ops.constant(np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32))
    model = ov.Model([ops.matmul(left, right, False, False)], [left])
    config = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": "1"}
    compiled = ov.Core().compile_model(model, "CPU", config)
    x = np.ones((SIDE, SIDE), np.float32)
    compiled([x])
    times = []
    for _ in range(5):
        start = time.perf_counter()
        compiled([x])
        times.append(time.perf_counter() - start)
    return SIDE**3 / min(times) / 1e9


def test_multiply_adds_of_a_known_layer(tmp_path: Path) -> None:
    x = ops.parameter([1, 3, 8, 8], ov.Type.f32)
    weights = ops.constant(np.zeros((5, 3, 3, 3), np.float32))
    layer = ops.convolution(x, weights, [1, 1], [1, 1], [1, 1], [1, 1])
    ov.save_model(ov.Model([layer], [x]), tmp_path / "model.xml")
    assert multiply_adds(tmp_path / "model.xml", (1, 3, 8, 8)) == 5 * 8 * 8 * 3 * 3 * 3


@pytest.mark.parametrize("case", CASES)
def test_distance_to_the_limit(case: str, benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if not benchmark.enabled:
        pytest.skip("a measurement: run `make bench ARGS='-k limit'`")
    chosen = {**EMITTED, "det_runtime": "openvino", **CASES[case]}
    settings: Settings = Space.of("ppocr", "cpu", detect()).variant(chosen).settings
    shapes: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    kernel_s: dict[str, float] = defaultdict(float)
    plain = OpenVinoSession.run

    def watched(self: OpenVinoSession, x: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        output = plain(self, x)
        stage = "rec" if x.shape[2] == 48 else "det"
        kernel_s[stage] += time.perf_counter() - start
        shapes[stage].append(x.shape)
        return output

    pages = [Page(ref.id, decode(ref)) for ref in load(["generated"])[0].pages[:PAGES]]
    with open_ppocr(settings, "cpu", StageTimer()) as reader:
        reader.read(pages)  # every shape compiled
        monkeypatch.setattr(OpenVinoSession, "run", watched)
        start = time.process_time()
        benchmark.pedantic(lambda: [reader.read([page]) for page in pages], rounds=1)
        cpu_s = time.process_time() - start
    print(f"\n{case}: {PAGES} pages, {1000 * cpu_s / PAGES:.0f} ms of processor time a page")
    for stage, seen in shapes.items():
        path = resolve("det" if stage == "det" else "rec", str(settings[f"{stage}_model"]))
        work = {shape: multiply_adds(path, shape) for shape in set(seen)}
        gmac = sum(work[shape] for shape in seen) / 1e9
        peak = peak_gmac_s(str(settings[f"{stage}_precision"]))
        spent_s = kernel_s[stage]
        print(
            f"  {stage}: {gmac / PAGES:.2f} G multiply-adds a page, {gmac / spent_s:.0f} G a second of "
            f"{peak:.0f}: {100 * gmac / spent_s / peak:.0f} % of the peak; {100 * spent_s / cpu_s:.0f} % of the time"
        )
    rest = 1 - sum(kernel_s.values()) / cpu_s
    print(f"  decoding text, crops, contours, resizing, reading order: {100 * rest:.0f} % of the time")
