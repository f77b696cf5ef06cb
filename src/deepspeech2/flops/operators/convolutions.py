"""Convolutions and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepspeech2.flops.formulas.convolutions import (
    Convolution,
    Window,
    bias_gradient,
    convolution,
    convolution_weight_gradient,
    transposed_convolution,
)
from deepspeech2.flops.operations import NOTHING, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula


def _per_axis(value: Any, axes: int) -> list[int]:
    values = list(value) if isinstance(value, Sequence) else [value]
    return values * axes if len(values) == 1 else values


def _sizes(image: TensorSpec, weight: TensorSpec, call: Call) -> Convolution:
    """The convolution that maps `image` by `weight`; for a transposed one, `image` is its output."""
    axes = len(weight.shape) - 2
    options = [_per_axis(call[name], axes) for name in ("stride", "padding", "dilation")]
    kernel = [int(taps) for taps in weight.shape[2:]]
    # What a transposed convolution puts behind its result is padding that the convolution it undoes does without.
    more = _per_axis(call["output_padding"], axes) if call["transposed"] else [0] * axes
    windows = [
        Window(size, taps, stride, padding, padding - extra, dilation)
        for size, taps, extra, stride, padding, dilation in zip(
            image.shape[-axes:], kernel, more, *options, strict=True
        )
    ]
    groups = call["groups"]
    samples = image.shape[0] if len(image.shape) == axes + 2 else 1
    return Convolution(samples, int(weight.shape[1]) * groups, int(weight.shape[0]), windows, groups)


@register_formula("aten::convolution", "aten::_convolution", "aten::convolution_overrideable")
def convolution_of(call: Call) -> OperationCount:
    """The count of a convolution of any kind."""
    bias = call.get("bias") is not None
    if call["transposed"]:
        # The weight of a transposed convolution is that of the convolution it is the gradient of.
        return transposed_convolution(_sizes(call.output, call["weight"], call), bias=bias)
    return convolution(_sizes(call["input"], call["weight"], call), bias=bias)


@register_formula("aten::mkldnn_convolution", "aten::_slow_conv2d_forward", "aten::conv_depthwise3d")
def _plain_convolution(call: Call) -> OperationCount:
    arguments = {"groups": 1, "dilation": 1, "transposed": False, **call.arguments}
    image = arguments.get("input", arguments.get("self"))
    return convolution_of(Call(call.operator, {**arguments, "input": image}, call.outputs))


@register_formula("aten::convolution_backward", "aten::convolution_backward_overrideable")
def _convolution_backward(call: Call) -> OperationCount:
    need_input, need_weight, need_bias = call["output_mask"]
    grad, image, weight = call["grad_output"], call["input"], call["weight"]
    sizes = _sizes(grad if call["transposed"] else image, weight, call)
    count = NOTHING
    if need_input:
        # The gradient of a convolution is the transposed convolution, and the other way round.
        back = convolution if call["transposed"] else transposed_convolution
        count = count + back(sizes, bias=False)
    if need_weight:
        count = count + convolution_weight_gradient(sizes)
    if need_bias:
        channels = grad.shape[1]
        count = count + bias_gradient(channels, grad.elements // channels)
    # The notebook's rules are for inference.
    return count + OperationCount(notebook=-count.notebook)


@register_formula("aten::col2im")
def _fold(call: Call) -> OperationCount:
    # Every element of every patch is added into the image.
    return OperationCount(add=call["self"].elements)
