"""int8 for ONNX Runtime, built with its own quantiser."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from engines.ppocr.runtimes import Tensor

FILE = "model.onnx"
PACKAGES: tuple[str, ...] = ("onnx", "onnxruntime")
METHOD = "qdq conv matmul u8 s8 minmax 1"
_PER_CHANNEL_OPSET = 13
"""The first version of ONNX that has a scale for each channel."""


def dynamic(model: Path, target: Path) -> None:
    """Matrix products in int8. Convolutions stay: ONNX Runtime is slower at them in int8 than in f32."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory() as scratch:
        quantize_dynamic(
            _prepared(model, Path(scratch)),
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )


def static(model: Path, target: Path, inputs: Sequence[Tensor], float_layers: int) -> None:
    """Convolutions and matrix products with constant weights in int8 per channel, from `float_layers` on."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

    with TemporaryDirectory() as scratch:
        prepared = _prepared(model, Path(scratch))
        quantize_static(
            prepared,
            target,
            _Inputs(prepared, inputs),
            op_types_to_quantize=["Conv", "MatMul"],
            nodes_to_exclude=_float_nodes(prepared, float_layers),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"MatMulConstBOnly": True},
        )


class _Inputs:
    """The inputs, one by one, as the quantiser asks for them."""

    def __init__(self, model: Path, inputs: Sequence[Tensor]) -> None:
        import onnx

        name = onnx.load(model).graph.input[0].name
        self._feeds: Iterator[dict[str, Tensor]] = iter([{name: tensor} for tensor in inputs])

    def get_next(self) -> dict[str, Tensor] | None:
        return next(self._feeds, None)


def _prepared(model: Path, folder: Path) -> Path:
    """The model with its shapes inferred and its batch normalisations folded, as the quantiser wants it."""
    import onnx
    from onnx.version_converter import convert_version
    from onnxruntime.quantization.shape_inference import quant_pre_process

    network = onnx.load(model)
    if network.opset_import[0].version < _PER_CHANNEL_OPSET:
        model = folder / "converted.onnx"
        onnx.save(convert_version(network, _PER_CHANNEL_OPSET), model)
    target = folder / FILE
    # The symbolic shape inference needs another package, and finds nothing more in these models.
    quant_pre_process(model, target, skip_symbolic_shape=True)
    return target


def _float_nodes(model: Path, first: int) -> list[str]:
    """Names of the nodes that stay in float: the first so many layers, and all depthwise convolutions.

    Those cost next to nothing, and their channels differ so much that one range for all hurts the text.
    """
    import onnx

    nodes = onnx.load(model).graph.node
    depthwise = [node.name for node in nodes if node.op_type == "Conv" and _groups(node) > 1]
    layers = [
        node.name for node in nodes if node.op_type in ("Conv", "MatMul") and node.name not in depthwise
    ]
    return layers[:first] + depthwise


def _groups(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
