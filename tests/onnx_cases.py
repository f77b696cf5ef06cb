"""Small ONNX graphs made by hand."""

import numpy as np
from onnx import helper, numpy_helper


def weight(name, *shape, dtype=np.float32, value=None):
    """An initialiser; zeros unless a value is given."""
    array = np.zeros(shape, dtype=dtype) if value is None else np.asarray(value, dtype=dtype)
    return numpy_helper.from_array(array, name)


def value(name, shape, kind=1):
    return helper.make_tensor_value_info(name, kind, shape)


def graph(nodes, inputs, outputs, weights=(), name="g"):
    return helper.make_graph(nodes, name, inputs, outputs, list(weights))


def model(nodes, inputs, outputs=("y",), weights=(), opset=17, functions=(), domains=()):
    """A model whose inputs are {name: shape} (or (shape, element type)) and whose results have no declared shape."""
    ends = [value(k, *(v if isinstance(v, tuple) and isinstance(v[0], list) else (v,))) for k, v in inputs.items()]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    opsets = [helper.make_opsetid("", opset), *[helper.make_opsetid(domain, 1) for domain in domains]]
    return helper.make_model(
        graph(nodes, ends, results, weights), opset_imports=opsets, functions=list(functions), ir_version=8
    )
