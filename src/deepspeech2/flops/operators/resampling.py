"""Interpolation of images and sequences to other sizes, grid sampling, and their gradients."""

from __future__ import annotations

from math import prod
from typing import Any

from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.formulas.resampling import (
    CUBIC_WEIGHTS,
    GridSampling,
    grid_sampling,
    grid_sampling_gradient,
)
from deepspeech2.flops.operations import Number, OperationCount, total_of
from deepspeech2.flops.registry import Call, TensorSpec, register_formula

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")
# (i + 0.5) * scale - 0.5 and its floor
_PLACED = OperationCount(add=2, multiply=1, other=1)


def _axes(call: Call) -> int:
    return next(int(letter) for letter in call.operator if letter.isdigit())


def _linear_weights(sizes: Any, axes: int) -> OperationCount:
    """Weights once per position of an axis, f and 1 - f; products of them once per position of the plane."""
    neighbours = 2**axes
    combined = OperationCount(multiply=prod(sizes) * neighbours * (axes - 1))
    positions: Number = sum(sizes)
    return (_PLACED + OperationCount(add=2)) * positions + combined


@register_formula("aten::upsample_linear1d", "aten::upsample_bilinear2d", "aten::upsample_trilinear3d")
def _linear_upsampling(call: Call) -> OperationCount:
    """Weighted sum of the 2 ** axes neighbours."""
    axes = _axes(call)
    neighbours = 2**axes
    values = OperationCount(multiply=neighbours, add=neighbours - 1) * call.output.elements
    return values + _linear_weights(call.output.shape[-axes:], axes)


@register_formula(
    "aten::upsample_linear1d_backward", "aten::upsample_bilinear2d_backward", "aten::upsample_trilinear3d_backward"
)
def _linear_upsampling_backward(call: Call) -> OperationCount:
    """Every gradient times each weight, added to that neighbour."""
    axes, grad = _axes(call), call["grad_output"]
    products: Number = 2**axes * grad.elements
    values = OperationCount(multiply=1, add=1) * products
    return values + _linear_weights(grad.shape[-axes:], axes)


@register_formula("aten::upsample_bicubic2d", "aten::upsample_bicubic2d_backward")
def _cubic_upsampling(call: Call) -> OperationCount:
    """Four weights per position of an axis; sums along four rows, then of these; backward a product of three each."""
    backward = call.operator.endswith("backward")
    image: TensorSpec = call["grad_output"] if backward else call.output
    weights = (_PLACED + OperationCount(add=1) + CUBIC_WEIGHTS) * sum(image.shape[-2:])
    each = OperationCount(multiply=2 * 16, add=16) if backward else OperationCount(multiply=4 * 5, add=3 * 5)
    return weights + each * image.elements


def _smoothed_taps(size: Number, outputs: Number, reach: int) -> list[int]:
    """Taps of each output of an antialiased filter along one axis; `reach` is 1 for linear, 2 for cubic."""
    if not (isinstance(size, int) and isinstance(outputs, int)):
        raise NotImplementedError("antialiased resampling of a symbolic size")
    scale = size / outputs
    support = reach * max(scale, 1.0)
    taps = []
    for index in range(outputs):
        centre = scale * (index + 0.5)
        taps.append(min(int(centre + support + 0.5), size) - max(int(centre - support + 0.5), 0))
    return taps


@register_formula(
    "aten::_upsample_bilinear2d_aa",
    "aten::_upsample_bicubic2d_aa",
    "aten::_upsample_bilinear2d_aa_backward",
    "aten::_upsample_bicubic2d_aa_backward",
)
def _antialiased_upsampling(call: Call) -> OperationCount:
    """Along rows, then along columns: a weighted sum of as many taps as the filter reaches.

    Weights, per tap: its distance from the centre over the scale (two additions, a product), the filter (linear: an
    absolute value, a comparison, a subtraction; cubic: a comparison and a polynomial of three products and three
    additions), their sum and a division by it. With align_corners or a given scale the reach is that of the sizes.
    """
    backward = call.operator.endswith("backward")
    if backward:
        image = [*call["grad_output"].shape[:2], *call["input_size"][-2:]]
        result = call["grad_output"]
    else:
        image, result = list(call.tensors[0].shape), call.output
    cubic = "bicubic" in call.operator
    taps = [_smoothed_taps(a, b, 2 if cubic else 1) for a, b in zip(image[-2:], result.shape[-2:], strict=True)]
    filtered = OperationCount(compare=1, multiply=3, add=3) if cubic else OperationCount(other=1, compare=1, add=1)
    weights = total_of(
        (filtered + OperationCount(add=2, multiply=1, divide=1)) * sum(axis) + OperationCount(add=sum(axis) - len(axis))
        for axis in taps
    )
    channels = image[0] * image[1]
    rows, columns = channels * image[-2], channels * result.shape[-1]
    products = rows * sum(taps[1]) + columns * sum(taps[0])
    sums = 0 if backward else rows * len(taps[1]) + columns * len(taps[0])
    return weights + OperationCount(multiply=products, add=products - sums)


@register_formula("aten::affine_grid_generator")
def _affine_grid(call: Call) -> OperationCount:
    """Coordinates of each axis in equal steps (times (n - 1) / n unless corners align), then a matrix product."""
    axes = call.output.last
    steps: Number = sum(call.output.shape[1:-1])
    placed = OperationCount(multiply=1 if call["align_corners"] else 2, add=1) * steps
    return placed + dot_products(call.output.elements, axes + 1)


@register_formula("aten::affine_grid_generator_backward")
def _affine_grid_backward(call: Call) -> OperationCount:
    """The coordinates again, then their product with the gradient, summed over all positions."""
    axes = call["grad"].last
    steps: Number = sum(call["grad"].shape[1:-1])
    placed = OperationCount(multiply=1 if call["align_corners"] else 2, add=1) * steps
    positions = prod(call["grad"].shape[1:-1])
    return placed + dot_products(call["grad"].shape[0] * axes * (axes + 1), positions)


def _grid(call: Call) -> GridSampling:
    axes = _axes(call)
    return GridSampling(
        positions=call["grid"].elements // axes
        if isinstance(call["grid"].elements, int)
        else call["grid"].elements / axes,
        channels=call["input"].shape[1],
        axes=axes,
        mode=_MODES[call["interpolation_mode"]],
        padding=_PADDINGS[call["padding_mode"]],
    )


@register_formula("aten::grid_sampler_2d", "aten::grid_sampler_3d")
def _grid_sampler(call: Call) -> OperationCount:
    return grid_sampling(_grid(call))


@register_formula("aten::grid_sampler_2d_backward", "aten::grid_sampler_3d_backward")
def _grid_sampler_backward(call: Call) -> OperationCount:
    image, grid = call["output_mask"]
    return grid_sampling_gradient(_grid(call), image=bool(image), grid=bool(grid))
