"""Shapes of a node's results, and their values where these follow from shapes and constants.

Shapes come from the rules that ship with the package onnx, applied to one node at a time with the true sizes of its
inputs; values of small tensors come from its reference implementation.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from deepspeech2.errors import InputError
from deepspeech2.flops.onnx_graphs.values import MOST_KNOWN, Value, constant_value, tensor_value, value_of_type

# Operators that shape arithmetic is made of; others are never computed.
_SHAPE_ARITHMETIC = """
    Abs Add And Cast CastLike Ceil Concat ConstantOfShape CumSum Div Equal Expand Floor Gather GatherElements
    GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg NonZero Not Or Pow Range ReduceMax
    ReduceMin ReduceProd ReduceSum Reshape ScatterElements ScatterND Sign Slice Split Sqrt Squeeze Sub Sum Tile
    Transpose Reciprocal Flatten Trilu Unsqueeze Where Xor Round
"""
_FOLDED = frozenset(_SHAPE_ARITHMETIC.split())
# A weight this small is a scale or a limit; arithmetic on larger floating-point constants is counted.
_SMALL_FLOAT = 16
_CONSTANT_ATTRIBUTES = {"value_float": 1, "value_int": 7, "value_floats": 1, "value_ints": 7}


class ShapeInference:
    """Finds what is known of the results of nodes.

    Args:
        opsets: version of each operator set the model uses.
        ir_version: the model's.
    """

    def __init__(self, opsets: dict[str, int], ir_version: int) -> None:
        from onnx import helper

        self.opsets = opsets
        self.ir_version = ir_version
        self._imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]

    def schema(self, node: Any) -> Any:
        """The definition of a node's operator, or None."""
        from onnx import defs

        domain = "" if node.domain == "ai.onnx" else node.domain
        try:
            return defs.get_schema(node.op_type, self.opsets.get(domain, 1), domain)
        except defs.SchemaError:
            return None

    def results(self, node: Any, inputs: list[Value | None]) -> list[Value]:
        """One value for each output of a node.

        Raises:
            InputError: the sizes of the inputs do not fit the operator; says which node and which sizes.
        """
        if node.op_type == "Constant":
            return [_constant(node)]
        if node.op_type == "Shape" and inputs[0] is not None and inputs[0].shape is not None:
            return [_shape(node, inputs[0].shape)]
        if node.op_type == "Size" and inputs[0] is not None and inputs[0].shape is not None:
            return [tensor_value(7, (), np.array(inputs[0].elements, dtype=np.int64), fixed=True)]
        found = self._inferred(node, inputs)
        results = [value_of_type(found.get(name)) for name in node.output]
        return self._folded(node, inputs, results)

    def _inferred(self, node: Any, inputs: list[Value | None]) -> dict[str, Any]:
        from onnx import numpy_helper, shape_inference

        schema = self.schema(node)
        if schema is None:
            return {}
        types, data = {}, {}
        for name, value in zip(node.input, inputs, strict=True):
            if value is None:
                continue
            if value.type is None:
                return {}
            types[name] = value.type
            if value.data is not None and value.data.dtype != object:
                data[name] = numpy_helper.from_array(value.data)
        try:
            return dict(
                shape_inference.infer_node_outputs(
                    schema, node, types, data, opset_imports=self._imports, ir_version=self.ir_version
                )
            )
        except Exception as error:  # the checker's and the inference's errors share no class
            shapes = ", ".join("none" if one is None else str(one.shape or "unknown") for one in inputs)
            reason = " ".join(str(error).split()).removeprefix("[ShapeInferenceError] ")
            name = node.name or (node.output[0] if node.output else "")
            raise InputError(
                f"node {name!r} ({node.op_type}) does not take inputs of {shapes}: {reason[:160]}"
            ) from error

    def _folded(self, node: Any, inputs: list[Value | None], results: list[Value]) -> list[Value]:
        given = [value for value in inputs if value is not None]
        known = all(value.data is not None and value.data.dtype != object for value in given)
        sizes = [prod(value.shape) if value.shape is not None else None for value in results]
        if (
            node.op_type not in _FOLDED
            or node.domain not in ("", "ai.onnx")
            or not known
            or not given
            # NonZero of a known tensor: its size is known once computed, and no larger than its input.
            or any((size is None and node.op_type != "NonZero") or (size or 0) > MOST_KNOWN for size in sizes)
        ):
            return results
        floating = any(value.spec.is_floating for value in [*given, *results] if value.shape is not None)
        if floating and max([value.elements for value in given] + [size or 0 for size in sizes]) > _SMALL_FLOAT:
            return results
        computed = self._computed(node, inputs)
        if computed is None:
            return results
        fixed = all(value.fixed for value in given)
        return [
            tensor_value(before.element_type or 7, tuple(data.shape), data, fixed=fixed)
            for before, data in zip(results, computed, strict=True)
        ]

    def _computed(self, node: Any, inputs: list[Value | None]) -> list[Any] | None:
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        names = [name for name in dict.fromkeys(node.input) if name]
        ends = [[helper.make_empty_tensor_value_info(name) for name in some] for some in (names, node.output)]
        graph = helper.make_graph([node], "folded", *ends)
        feeds = {name: value.data for name, value in zip(node.input, inputs, strict=True) if value is not None}
        try:
            with np.errstate(all="ignore"):
                return [np.asarray(result) for result in ReferenceEvaluator(graph, opsets=self.opsets).run(None, feeds)]
        except Exception:  # whatever the reason, the value is merely not known
            return None


def _constant(node: Any) -> Value:
    for attribute in node.attribute:
        if attribute.name == "value":
            return constant_value(attribute.t)
        if attribute.name in _CONSTANT_ATTRIBUTES:
            from onnx import helper

            kind = _CONSTANT_ATTRIBUTES[attribute.name]
            data = np.asarray(helper.get_attribute_value(attribute), dtype=np.float32 if kind == 1 else np.int64)
            return tensor_value(kind, data.shape, data if data.size <= MOST_KNOWN else None, fixed=True)
    return Value()


def _shape(node: Any, shape: tuple[int, ...]) -> Value:
    ends = {attribute.name: attribute.i for attribute in node.attribute}
    sizes = np.array(shape[ends.get("start", 0) : ends.get("end")], dtype=np.int64)
    return tensor_value(7, sizes.shape, sizes, fixed=True)
