"""Quantised tensors among fakes: torch has no fake of one, so a fake of floats stands for it and knows its true type.

What a kernel on quantised tensors computes in floating point (all but products and pooling: dequantise, compute,
quantise again) is spelled out here; products are counted by `operators/quantised.py` from the shapes read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten

_ATTRIBUTE = "_stands_for"
_aten, _quantized = torch.ops.aten, torch.ops.quantized


def true_type(tensor: torch.Tensor) -> torch.dtype:
    """The element type a fake stands for."""
    found: torch.dtype = getattr(tensor, _ATTRIBUTE, tensor.dtype)
    return found


def stands_for_quantised(tensor: torch.Tensor) -> bool:
    """Whether a tensor is quantised, itself or as what it stands for."""
    return hasattr(tensor, _ATTRIBUTE) or bool(tensor.is_quantized)


def quantised(fake: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Let a fake of floats stand for a quantised tensor."""
    setattr(fake, _ATTRIBUTE, dtype)
    return fake


@dataclass
class QuantisedTensors:
    """Follows which fakes stand for quantised tensors; `met` once there is one."""

    met: bool = False

    def follow(self, func: Any, args: Any, kwargs: Any, outputs: Any) -> None:
        """Results of an operator on quantised tensors are quantised, unless it leaves that world."""
        if func._opname in ("quantize_per_tensor", "quantize_per_channel", "quantize_per_tensor_dynamic"):
            self.met = True
            place = next(index for index, one in enumerate(func._schema.arguments) if one.name == "dtype")
            self._mark(outputs, args[place] if place < len(args) else kwargs["dtype"])
        elif self.met and func._opname not in ("dequantize", "int_repr") and "dynamic" not in func._opname:
            marks = [mark for mark in (getattr(one, _ATTRIBUTE, None) for one in _tensors((args, kwargs))) if mark]
            if marks:
                self._mark(outputs, marks[0])

    @staticmethod
    def _mark(outputs: Any, dtype: torch.dtype) -> None:
        for output in _tensors(outputs):
            if output.is_floating_point():
                quantised(output, dtype)


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    return (value for value in tree_flatten(values)[0] if isinstance(value, torch.Tensor))


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """The weight inside a packed parameter.

    Attributes:
        shape: as the kernel takes it; of a convolution over one axis with an axis of one before it.
        biased: whether it has a bias.
        options: stride, padding, dilation, transposed, output_padding and groups of a convolution.
    """

    shape: tuple[int, ...]
    biased: bool
    options: dict[str, Any]


def packed_weight(packed: Any) -> PackedWeight:
    """Read a packed parameter; its values are not used."""
    with _disable_current_modes():
        weight, bias = packed.unpack()
        options = {}
        if weight.dim() > 2:
            options = {
                "stride": list(packed.stride()),
                "padding": list(packed.padding()),
                "dilation": list(packed.dilation()),
                "transposed": bool(packed.transpose()),
                "output_padding": list(packed.output_padding()),
                "groups": int(packed.groups()),
            }
        return PackedWeight(tuple(weight.shape), bias is not None, options)


# Results -----------------------------------------------------------------------------------------------------


def _linear_result(x: torch.Tensor, packed: Any, *_: Any, **__: Any) -> torch.Tensor:
    outputs, inputs = packed_weight(packed).shape
    if x.shape[-1] != inputs:
        raise RuntimeError(f"a quantised layer of {inputs} inputs was given a tensor of {tuple(x.shape)}")
    return x.new_empty((*x.shape[:-1], outputs))


def _convolution_result(x: torch.Tensor, packed: Any, *_: Any, **__: Any) -> torch.Tensor:
    weight = packed_weight(packed)
    flat = x.dim() == 3
    image = x.unsqueeze(2) if flat else x
    result: torch.Tensor = _aten.convolution.default(image, x.new_empty(weight.shape), None, *weight.options.values())
    return result.squeeze(2) if flat else result


def _same_size(x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return x.new_empty(x.shape)


_CONVOLUTIONS = [
    f"conv{transposed}{axes}d{end}"
    for transposed in ("", "_transpose")
    for axes in (1, 2, 3)
    for end in ("", "_relu", "_dynamic")
    if not (transposed and end == "_relu")
]
_LINEAR = ("linear", "linear_relu", "linear_leaky_relu", "linear_tanh")


def _overloads(name: str) -> Iterator[Any]:
    packet = getattr(_quantized, name)
    return (getattr(packet, overload) for overload in packet.overloads())


def _embedding_result(packed: Any, indices: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    with _disable_current_modes():
        width = packed.unpack().shape[1]
    return torch.empty((*indices.shape, width), device=indices.device)


RESULTS: dict[Any, Callable[..., Any]] = {
    **{func: _linear_result for name in _LINEAR for func in _overloads(name)},
    **{func: _convolution_result for name in _CONVOLUTIONS for func in _overloads(name)},
    _quantized.relu6.default: _same_size,
    _quantized.embedding_byte.default: _embedding_result,
    _quantized.embedding_4bit.default: _embedding_result,
    _aten.quantize_per_channel.default: _same_size,
    _aten.dequantize.self: _same_size,
}
"""Operators on quantised tensors whose results torch cannot fake."""


# Computed in floating point ----------------------------------------------------------------------------------

_Float = Callable[[SimpleNamespace], torch.Tensor]


def _normalised(call: SimpleNamespace) -> torch.Tensor:
    return functional.batch_norm(call.qx, call.mean, call.var, call.weight, call.bias, eps=call.eps)


# Arguments of one are as the schema of the operator names them, tensors dequantised.
_COMPUTED: dict[str, _Float] = {
    "add": lambda call: call.qa + call.qb,
    "add_scalar": lambda call: call.qa + call.b,
    "mul": lambda call: call.qa * call.qb,
    "mul_scalar": lambda call: call.qa * call.b,
    "matmul": lambda call: call.qa @ call.qb,
    "batch_norm": _normalised,
    **dict.fromkeys(("batch_norm1d", "batch_norm2d", "batch_norm3d"), _normalised),
    "layer_norm": lambda call: functional.layer_norm(
        call.input, call.normalized_shape, call.weight, call.bias, call.eps
    ),
    "group_norm": lambda call: functional.group_norm(call.input, call.num_groups, call.weight, call.bias, call.eps),
    "instance_norm": lambda call: functional.instance_norm(
        call.input, None, None, call.weight, call.bias, eps=call.eps
    ),
    "hardswish": lambda call: functional.hardswish(call.input),
    "elu": lambda call: functional.elu(call.self, call.alpha),
    "celu": lambda call: functional.celu(call.self, call.alpha),
    "sigmoid": lambda call: torch.sigmoid(call.qx),
    "softmax": lambda call: torch.softmax(call.qx, call.dim),
    "leaky_relu": lambda call: functional.leaky_relu(call.qx, call.negative_slope),
    "prelu": lambda call: functional.prelu(call.qx, call.weight),
    "cat": lambda call: torch.cat(call.qx, call.dim),
}
_RELUS = ("add", "add_scalar", "mul", "mul_scalar", "cat", "batch_norm", "batch_norm1d", "batch_norm2d", "batch_norm3d")


def _through_floats(func: Any, compute: _Float, *, relu: bool) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> torch.Tensor:
        arguments = func._schema.arguments
        values = {argument.name: argument.default_value for argument in arguments if argument.has_default_value()}
        values.update(zip([argument.name for argument in arguments], args, strict=False))
        values.update(kwargs)
        dtype = next(true_type(one) for one in _tensors(list(values.values())) if hasattr(one, _ATTRIBUTE))
        result = compute(SimpleNamespace(**{name: _dequantised(value) for name, value in values.items()}))
        result = torch.relu(result) if relu else result
        return torch.quantize_per_tensor(result, 1.0, 0, dtype)

    return run


def _dequantised(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_dequantised(item) for item in value]
    return value.dequantize() if isinstance(value, torch.Tensor) and hasattr(value, _ATTRIBUTE) else value


COMPUTED: dict[Any, Callable[..., Any]] = {
    func: _through_floats(func, compute, relu=bool(ending))
    for name, compute in _COMPUTED.items()
    for ending in ("", "_relu")
    if not ending or name in _RELUS
    for func in _overloads(name + ending)
}
"""Operators that dequantise, compute in floating point and quantise again, as the operators they are made of."""
