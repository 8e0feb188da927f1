"""How far from the machine's limit the kernels run, and what share of the time is not theirs.

Multiply-adds of the models on the very shapes that they were given, over the rate of a large matrix product on one
thread, against the processor time that was spent. All is processor time: other processes do not count.
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
from engines.ppocr import calibrate
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
    "tiny int8, the rest f32": {
        "rec_precision": "f32",
        "det_precision": "f32",
        "rec_quantization": "static",
        "det_quantization": "static",
    },
    "small int8, the rest bf16": {
        "rec_precision": "bf16",
        "det_precision": "bf16",
        "rec_model": "v6_small",
        "rec_quantization": "static",
        "det_quantization": "static",
    },
}
"""int8 is held against the peak of int8, though some layers stay in float: see `rec_float_layers`."""
CALIBRATION_PAGES = 8


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


def product(right: np.ndarray, precision: str) -> ov.CompiledModel:
    """The product of an f32 matrix with the square matrix `right` in OpenVINO on one thread.

    `int8` quantises both as NNCF does: `right` by one scale a column, the other, whose values lie from 0 to 1, by one
    scale in each call. The time for that is next to nothing in a large product.
    """
    left = ops.parameter([len(right), len(right)], ov.Type.f32)
    factors = left, ops.constant(right)
    if precision == "int8":
        scales = np.abs(right).max(axis=0, keepdims=True) / np.float32(127)
        weights = ops.convert(ops.constant(np.round(right / scales).astype(np.int8)), ov.Type.f32)
        bounds = [ops.constant(np.float32(bound)) for bound in (0, 1, 0, 1)]
        factors = ops.fake_quantize(left, *bounds, 256), ops.multiply(weights, ops.constant(scales))
    model = ov.Model([ops.matmul(*factors, False, False)], [left])
    hint = "f32" if precision == "int8" else precision
    config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": "1"}
    return ov.Core().compile_model(model, "CPU", config)


def peak_gmac_s(precision: str) -> float:
    """Multiply-adds a second, in 1e9, of a large matrix product in OpenVINO on one thread."""
    multiply = product(np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32), precision)
    x = np.ones((SIDE, SIDE), np.float32)
    multiply([x])
    times = []
    for _ in range(5):
        start = time.process_time()
        multiply([x])
        times.append(time.process_time() - start)
    return SIDE**3 / min(times) / 1e9


@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-3), ("bf16", 0.5), ("int8", 0.5)])
def test_the_product_whose_peak_is_measured_is_a_product(precision: str, tolerance: float) -> None:
    draw = np.random.default_rng(1)
    left, right = draw.random((64, 64), np.float32), draw.standard_normal((64, 64)).astype(np.float32)
    multiply = product(right, precision)
    np.testing.assert_allclose(multiply([left])[0], left @ right, atol=tolerance)
    kernels = {
        op.get_rt_info()["runtimePrecision"].astype(str) for op in multiply.get_runtime_model().get_ops()
    }
    assert ("u8" in kernels) == (precision == "int8")


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
    refs = load(["generated"])[0].pages
    pages = [Page(ref.id, decode(ref)) for ref in refs[: PAGES + CALIBRATION_PAGES]]
    calibration = calibrate(pages[PAGES:])
    pages = pages[:PAGES]
    chosen = {**EMITTED, **calibration, "det_runtime": "openvino", **CASES[case]}
    settings: Settings = Space.of("ppocr", "cpu", detect()).suggested(chosen).settings
    shapes: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    kernel_s: dict[str, float] = defaultdict(float)
    plain = OpenVinoSession.run

    def watched(self: OpenVinoSession, x: np.ndarray) -> np.ndarray:
        start = time.process_time()
        output = plain(self, x)
        stage = "rec" if x.shape[2] == 48 else "det"
        kernel_s[stage] += time.process_time() - start
        shapes[stage].append(x.shape)
        return output

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
        quantised = settings[f"{stage}_quantization"] != "none"
        precision = "int8" if quantised else str(settings[f"{stage}_precision"])
        peak = peak_gmac_s(precision)
        spent_s = kernel_s[stage]
        print(
            f"  {stage}: {gmac / PAGES:.2f} G multiply-adds a page, {gmac / spent_s:.0f} G a second of "
            f"{peak:.0f} in {precision}: {100 * gmac / spent_s / peak:.0f} % of the peak; "
            f"{100 * spent_s / cpu_s:.0f} % of the time"
        )
    rest = 1 - sum(kernel_s.values()) / cpu_s
    print(f"  decoding text, crops, contours, resizing, reading order: {100 * rest:.0f} % of the time")
