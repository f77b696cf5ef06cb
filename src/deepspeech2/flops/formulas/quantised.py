"""Products of 8-bit integers."""

from __future__ import annotations

from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.operations import Number, OperationCount


def dynamic_quantisation(elements: Number) -> OperationCount:
    """Quantise a tensor by its own range.

    Algorithm: minimum and maximum (elements - 1 comparisons each); scale = (max - min) / 255, its reciprocal, and
    the zero point, round(min / scale); per element x * (1 / scale), rounded, plus the zero point, clamped twice.
    """
    return OperationCount(
        compare=2 * (elements - 1) + 2 * elements,
        add=1 + elements,
        divide=3,
        multiply=elements,
        other=1 + elements,
    )


def descaled(product: OperationCount, results: Number, rows: Number, *, bias: bool) -> OperationCount:
    """Products of integers on their way back to floating point.

    Algorithm: the dot products of `product`, of integers, by `rows` rows of weights; each result less the zero point
    times the sum of its weights (a product per row, a subtraction per result); then times the product of both scales
    (one multiplication for all, one per result), plus the bias.
    """
    return OperationCount(
        multiply=1 + results,
        add=results if bias else 0,
        macs=product.macs,
        padding_macs=product.padding_macs,
        integer=product.multiply + product.add + rows + results,
    )


def requantised(product: OperationCount, results: Number, rows: Number, *, bias: bool) -> OperationCount:
    """Products of integers whose results stay integers.

    Algorithm: the dot products of `product`, of integers, by `rows` rows of weights; each result less the zero point
    times the sum of its weights (a product per row, a subtraction per result) and plus an integer bias; then times
    the ratio of the scales, one floating-point multiplication, rounded; plus the zero point of the results, clamped
    on both sides, of which a ReLU is one.
    """
    return OperationCount(
        multiply=results,
        other=results,
        macs=product.macs,
        padding_macs=product.padding_macs,
        integer=product.multiply + product.add + rows + results + (results if bias else 0) + 3 * results,
    )


def quantised_product(samples: Number, inputs: Number, outputs: Number, *, bias: bool) -> OperationCount:
    """Integer dot products of quantised inputs with quantised weights, and their way back to floating point."""
    return descaled(dot_products(samples * outputs, inputs), samples * outputs, outputs, bias=bias)


def dynamic_linear(samples: Number, inputs: Number, outputs: Number, *, bias: bool) -> OperationCount:
    """A fully connected layer with dynamically quantised inputs."""
    return dynamic_quantisation(samples * inputs) + quantised_product(samples, inputs, outputs, bias=bias)
