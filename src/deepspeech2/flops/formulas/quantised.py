"""Products of 8-bit integers with dynamic quantisation."""

from __future__ import annotations

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


def quantised_product(samples: Number, inputs: Number, outputs: Number, *, bias: bool) -> OperationCount:
    """Integer dot products of quantised inputs with quantised weights, and their way back to floating point.

    Algorithm: per output a dot product of integers (`inputs` products, `inputs` - 1 sums), less the zero point times
    the sum of the weights (a product per weight row, a subtraction per output); then times the product of both scales
    (one multiplication for all, one per output), plus the bias.
    """
    results = samples * outputs
    macs = results * inputs
    return OperationCount(
        multiply=1 + results,
        add=results if bias else 0,
        macs=macs,
        integer=macs + (macs - results) + outputs + results,
    )


def dynamic_linear(samples: Number, inputs: Number, outputs: Number, *, bias: bool) -> OperationCount:
    """A fully connected layer with dynamically quantised inputs."""
    return dynamic_quantisation(samples * inputs) + quantised_product(samples, inputs, outputs, bias=bias)
