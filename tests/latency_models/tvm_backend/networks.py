"""Tiny ONNX networks, and what ONNX Runtime makes of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latency_models.artifact import Artifact, Precision
from latency_models.host import host_processor
from latency_models.target import Target

Array = NDArray[Any]
TARGET = Target(name="tvm-cpu", runtime="tvm", processor=host_processor(), precisions=("float32", "float16"))


def node(operator: str, inputs: Sequence[str] | str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    """One node; inputs as a list or as words."""
    names = inputs.split() if isinstance(inputs, str) else list(inputs)
    return helper.make_node(operator, names, output.split(), **attributes)


def network(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    feed: Mapping[str, Array],
    constants: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("y",),
    precision: Precision = "float32",
    opset: int = 17,
) -> Artifact:
    """Writes a network whose inputs are as in the feed, but for a free batch axis."""
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), ["batch", *array.shape[1:]] if array.ndim else []
        )
        for name, array in feed.items()
    ]
    made = helper.make_graph(
        list(nodes),
        "network",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return Artifact.from_file(path, precision)


def normal(*shape: int, seed: int = 0) -> Array:
    """Standard normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
