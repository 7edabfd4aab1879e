# SPDX-License-Identifier: Apache-2.0
"""Small ONNX files, written node by node, of networks whose depth is known in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip(
    'onnx', reason='onnx is not installed: pip install "depth_perception[onnx]"'
)
pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
FLOAT, UINT8, FLOAT16, INT64 = (
    getattr(onnx.TensorProto, name) for name in ('FLOAT', 'UINT8', 'FLOAT16', 'INT64')
)


def node(operation: str, given: str, made: str, **attributes: Any) -> Any:
    """Return a node; `given` names its inputs, with spaces between."""
    domain = attributes.pop('domain', '')
    return onnx.helper.make_node(operation, given.split(), [made], domain=domain, **attributes)


def write(
    path: Path,
    nodes: list[Any],
    shape: Any = (1, 3, 'h', 'w'),
    kind: int = FLOAT,
    outputs: tuple[str, ...] = ('depth',),
    constants: dict[str, Any] | None = None,
    opset: int = 18,
    inputs: tuple[str, ...] = ('image',),
    **how: Any,
) -> Path:
    """Write a graph that takes images of a shape and a type."""
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        'network',
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    domains = [helper.make_opsetid('', opset), helper.make_opsetid('com.microsoft', 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=10)
    onnx.save(model, str(path), **how)
    return path


def mean_depth(path: Path, axis: int = 1, kind: int = FLOAT, **how: Any) -> Path:
    """Write a network whose depth is 3 plus the mean of the channels of its input."""
    floating = FLOAT if kind == UINT8 else kind
    three = np.array(3, onnx.helper.tensor_dtype_to_np_dtype(floating))
    nodes = [
        node('Cast', 'image', 'values', to=floating),
        node('ReduceMean', 'values channels', 'mean', keepdims=0),
        node('Add', 'mean three', 'depth'),
    ]
    return write(
        path, nodes, kind=kind, constants={'channels': np.array([axis]), 'three': three}, **how
    )
