"""What is known of a tensor in an ONNX graph: its type, its shape, and its values where they are few and certain."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepspeech2.flops.registry import TensorSpec

MOST_KNOWN = 4096
"""Tensors of more elements are never kept as values."""

_DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    12: torch.uint32,
    13: torch.uint64,
    14: torch.complex64,
    15: torch.complex128,
    16: torch.bfloat16,
    17: torch.float8_e4m3fn,
    18: torch.float8_e4m3fnuz,
    19: torch.float8_e5m2,
    20: torch.float8_e5m2fnuz,
}


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor (or sequence) in a graph.

    Attributes:
        type: its `onnx.TypeProto`, None when nothing is known.
        shape: sizes, None when one of them is not known.
        data: its values, when few and known.
        fixed: whether the values follow from constants and shapes alone, whatever the inputs hold.
        is_weight: whether it is an initialiser of the model.
    """

    type: Any = None
    shape: tuple[int, ...] | None = None
    data: NDArray[Any] | None = None
    fixed: bool = False
    is_weight: bool = False

    @property
    def element_type(self) -> int:
        """ONNX's number of the element type; 0 when it is not known."""
        return int(self.type.tensor_type.elem_type) if self.type is not None else 0

    @property
    def spec(self) -> TensorSpec:
        """What formulas may know of it; only for values whose shape is known."""
        assert self.shape is not None
        return TensorSpec(self.shape, _DTYPES.get(self.element_type, torch.uint8))

    @property
    def elements(self) -> int:
        """Number of elements; only for values whose shape is known."""
        assert self.shape is not None
        return prod(self.shape)

    @property
    def parameters(self) -> int:
        """Parameters it holds: elements of floating-point weights with axes, and of matrices of 8-bit integers."""
        if not self.is_weight or not self.shape:
            return 0
        return self.elements if self.spec.is_floating or (len(self.shape) > 1 and self.element_type in (2, 3)) else 0


NOTHING_KNOWN = Value()


def tensor_value(element_type: int, shape: tuple[int, ...], data: Any = None, **flags: bool) -> Value:
    """A tensor of known shape."""
    from onnx import helper

    return Value(helper.make_tensor_type_proto(element_type, shape), shape, data, **flags)


def value_of_type(kind: Any) -> Value:
    """A value of a `TypeProto`; its shape is known if every size is a number."""
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return Value(kind)
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in kind.tensor_type.shape.dim]
    if any(size is None or size < 0 for size in sizes):
        return Value(kind)
    return Value(kind, tuple(size for size in sizes if size is not None))


def constant_value(tensor: Any, *, is_weight: bool = False) -> Value:
    """The value of a `TensorProto`; the numbers are kept if they are few and in the file."""
    from onnx import numpy_helper

    shape = tuple(tensor.dims)
    data = None
    has_values = not tensor.external_data and tensor.data_location == 0
    if prod(shape) <= MOST_KNOWN and has_values:
        try:
            data = np.asarray(numpy_helper.to_array(tensor))
        except Exception:  # its numbers were left out, or do not fit its shape: only the shape is known
            data = None
    return tensor_value(int(tensor.data_type), shape, data, fixed=True, is_weight=is_weight)
