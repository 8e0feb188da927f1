"""int8 for OpenVINO, built with NNCF."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.ppocr.runtimes import Tensor

FILE = "model.xml"
PACKAGES: tuple[str, ...] = ("nncf", "openvino")
METHOD = "nncf transformer mixed minmax 1"


def dynamic(model: Path, target: Path) -> None:
    """Weights of matrix products in int8; OpenVINO quantises what they are multiplied with in each call.

    It turns the weights of convolutions back into float: they would lose accuracy and gain no speed.
    """
    import openvino as ov

    nncf = _nncf()
    compressed = nncf.compress_weights(
        ov.Core().read_model(model),
        mode=nncf.CompressWeightsMode.INT8_SYM,
        ignored_scope=nncf.IgnoredScope(types=["Convolution", "GroupConvolution"]),
    )
    ov.save_model(compressed, target, compress_to_fp16=False)


def static(model: Path, target: Path, inputs: Sequence[Tensor], float_layers: int) -> None:
    """Convolutions and matrix products in int8 per channel, the first `float_layers` of them left in float.

    Agreement with f32 on the lines of scanned English pages decided what is told to NNCF here. Without the
    transformer scheme, which leaves normalisation and softmax in float, v6_small reads nothing; ranges from
    the extremes of activations do a little better than from means of them.
    """
    import openvino as ov

    nncf = _nncf()
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    network = ov.Core().read_model(model)
    quantised = nncf.quantize(
        network,
        nncf.Dataset(inputs),
        subset_size=len(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(names=_layers(network)[:float_layers]),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        ),
    )
    ov.save_model(quantised, target, compress_to_fp16=False)


def _layers(network: Any) -> list[str]:
    """Names of the convolutions and matrix products, from the pixels on; depthwise ones cost next to nothing."""
    kinds = ("Convolution", "MatMul")
    return [op.get_friendly_name() for op in network.get_ordered_ops() if op.get_type_name() in kinds]


def _nncf() -> Any:
    # NNCF reports its use to its makers unless it believes to be in CI.
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    nncf.set_log_level(40)
    return nncf
