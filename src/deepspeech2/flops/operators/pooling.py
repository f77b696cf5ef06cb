"""Pooling of images and sequences."""

from __future__ import annotations

from math import prod

from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, register_formula


def _taps(call: Call, axes: int) -> int:
    kernel = list(call["kernel_size"])
    return int(prod(kernel * axes if len(kernel) == 1 else kernel))


@register_formula(
    "aten::max_pool2d_with_indices",
    "aten::max_pool3d_with_indices",
    "aten::max_pool1d",
    "aten::max_pool2d",
    "aten::max_pool3d",
    "aten::mkldnn_max_pool2d",
    "aten::fractional_max_pool2d",
    "aten::fractional_max_pool3d",
)
def _max_pool(call: Call) -> OperationCount:
    """Every window at its full size: taps - 1 comparisons per output."""
    axes = next(int(letter) for letter in call.operator if letter.isdigit())
    return OperationCount(compare=call.output.elements * (_taps(call, axes) - 1))


@register_formula("aten::avg_pool1d", "aten::avg_pool2d", "aten::avg_pool3d")
def _average_pool(call: Call) -> OperationCount:
    """Every window at its full size: taps - 1 additions and a division per output."""
    axes = next(int(letter) for letter in call.operator if letter.isdigit())
    outputs = call.output.elements
    return OperationCount(add=outputs * (_taps(call, axes) - 1), divide=outputs)


def _adaptive_window_total(size: int, outputs: int) -> int:
    """Sum of the window lengths of an adaptive pooling along one axis."""
    return sum(-(-(index + 1) * size // outputs) - index * size // outputs for index in range(outputs))


def _adaptive_reads(call: Call, axes: int) -> Number:
    image = call.tensors[0]
    reads: Number = prod(image.shape[:-axes])
    for size, outputs in zip(image.shape[-axes:], call.output.shape[-axes:], strict=True):
        if isinstance(size, int) and isinstance(outputs, int):
            reads = reads * _adaptive_window_total(size, outputs)
        elif outputs == 1:
            reads = reads * size
        else:
            raise NotImplementedError("adaptive pooling of a symbolic size to more than one output")
    return reads


@register_formula("aten::_adaptive_avg_pool2d", "aten::_adaptive_avg_pool3d", "aten::adaptive_avg_pool1d")
def _adaptive_average(call: Call) -> OperationCount:
    axes = next(int(letter) for letter in call.operator if letter.isdigit())
    outputs = call.output.elements
    return OperationCount(add=_adaptive_reads(call, axes) - outputs, divide=outputs)


@register_formula("aten::adaptive_max_pool2d", "aten::adaptive_max_pool3d", "aten::adaptive_max_pool1d")
def _adaptive_max(call: Call) -> OperationCount:
    axes = next(int(letter) for letter in call.operator if letter.isdigit())
    return OperationCount(compare=_adaptive_reads(call, axes) - call.output.elements)


@register_formula(
    "aten::max_pool2d_with_indices_backward",
    "aten::max_pool3d_with_indices_backward",
    "aten::adaptive_max_pool2d_backward",
    "aten::adaptive_max_pool3d_backward",
    "aten::fractional_max_pool2d_backward",
    "aten::fractional_max_pool3d_backward",
)
def _max_pool_backward(call: Call) -> OperationCount:
    # Each gradient is added at the position that won.
    return OperationCount(add=call["grad_output"].elements)


@register_formula("aten::avg_pool2d_backward", "aten::avg_pool3d_backward")
def _average_pool_backward(call: Call) -> OperationCount:
    axes = next(int(letter) for letter in call.operator if letter.isdigit())
    gradients = call["grad_output"].elements
    return OperationCount(divide=gradients, add=gradients * _taps(call, axes))


@register_formula("aten::_adaptive_avg_pool2d_backward", "aten::_adaptive_avg_pool3d_backward")
def _adaptive_average_backward(call: Call) -> OperationCount:
    return OperationCount(divide=call["grad_output"].elements, add=call["self"].elements)
