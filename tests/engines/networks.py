"""Networks that are built by hand: a detector that sees ink, and a reader that says how dark a word is."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

_EDGE, _HALF_WIDTH = -1.1, 1.5
"""Normalised brightness of the soft edges of letters: white paper is at +0.8, black, as is padding, at -3."""
_STEEPNESS = 20.0
_REACH = 9


def ink_detector(path: Path, side: int = 1024) -> Path:
    """Logits (n, 1, side, side) of pages (n, 3, side, side): above 0 within a few pixels of the edge of a letter."""
    reach = _REACH // 2
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["grey"], keepdims=1),
        helper.make_node("Sub", ["grey", "edge"], ["offset"]),
        helper.make_node("Abs", ["offset"], ["distance"]),
        helper.make_node("Sub", ["half_width", "distance"], ["edges"]),
        helper.make_node("MaxPool", ["edges"], ["near"], kernel_shape=[_REACH, _REACH], pads=[reach] * 4),
        helper.make_node("Mul", ["near", "steepness"], ["logits"]),
    ]
    constants: dict[str, ArrayLike] = {
        "axes": np.array([1]),
        "edge": np.float32(_EDGE),
        "half_width": np.float32(_HALF_WIDTH),
        "steepness": np.float32(_STEEPNESS),
    }
    return _saved(path, nodes, constants, ("n", 3, side, side), ("n", 1, side, side))


def constant_reader(path: Path, letters: tuple[int, ...], classes: int) -> Path:
    """CTC logits (n, 2 len(letters), classes) that spell `letters`, with blanks between, on any picture."""
    logits = np.zeros((1, 2 * len(letters), classes), np.float32)
    for place, letter in enumerate(letters):
        logits[0, 2 * place, letter] = logits[0, 2 * place + 1, classes - 1] = 9.0
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["grey"], keepdims=0),
        helper.make_node("Mul", ["grey", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "shape"], ["column"]),
        helper.make_node("Add", ["column", "spelling"], ["logits"]),
    ]
    constants: dict[str, ArrayLike] = {
        "axes": np.array([1, 2, 3]),
        "zero": np.float32(0),
        "shape": np.array([-1, 1, 1]),
        "spelling": logits,
    }
    return _saved(path, nodes, constants, ("n", 3, 32, 128), ("n", 2 * len(letters), classes))


def _saved(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, ArrayLike],
    shape_in: tuple[str | int, ...],
    shape_out: tuple[str | int, ...],
) -> Path:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape_out)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
