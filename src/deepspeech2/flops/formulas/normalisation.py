"""Batch, layer, group, instance and root-mean-square normalisation."""

from __future__ import annotations

from typing import TypeAlias

from deepspeech2.flops.operations import Number, OperationCount


def batch_norm_inference(elements: Number, channels: Number) -> OperationCount:
    """Batch normalisation with stored statistics.

    Algorithm, once per channel: scale = gamma / sqrt(variance + epsilon), shift = beta - mean * scale; then
    x * scale + shift per element. Without gamma and beta the numerator is one and the shift a negation: the same
    counts. Notebook: four per element.
    """
    return OperationCount(
        add=2 * channels + elements,
        sqrt=channels,
        divide=channels,
        multiply=channels + elements,
        notebook=4 * elements,
    )


def moments(groups: Number, length: Number) -> OperationCount:
    """Mean and biased variance of `groups` groups of `length` elements, in two passes.

    Algorithm: mean = sum(x) / n; d = x - mean; variance = sum(d * d) / n.
    """
    elements = groups * length
    return OperationCount(add=2 * (elements - groups) + elements, multiply=elements, divide=2 * groups)


def normalised(groups: Number, length: Number, *, scale: bool, shift: bool) -> OperationCount:
    """Normalisation by statistics of the elements themselves (layer, group, instance norm, batch norm in training).

    Algorithm: `moments`, then r = 1 / sqrt(variance + epsilon) per group and d * r per element, times a scale and
    plus a shift where there are any. Notebook: four per element, its rule for normalisation.
    """
    elements = groups * length
    count = moments(groups, length)
    return count + OperationCount(
        add=groups + (elements if shift else 0),
        sqrt=groups,
        divide=groups,
        multiply=elements + (elements if scale else 0),
        notebook=4 * elements,
    )


def running_statistics(channels: Number) -> OperationCount:
    """Running = (1 - momentum) * running + momentum * new, for the mean and the variance of each channel."""
    return OperationCount(multiply=4 * channels, add=2 * channels)


def rms_normalised(groups: Number, length: Number, *, scale: bool) -> OperationCount:
    """X / sqrt(mean(x * x) + epsilon), computed as x * (1 / sqrt(...)), times an optional scale."""
    elements = groups * length
    return OperationCount(
        multiply=2 * elements + (elements if scale else 0),
        add=elements - groups + groups,
        divide=2 * groups,
        sqrt=groups,
    )


Needed: TypeAlias = tuple[bool, bool, bool]
"""Whether the gradient of the input, of the scale and of the shift is asked for."""


def normalised_gradient(
    groups: Number, length: Number, channels: Number, *, scale: bool, needed: Needed | None = None
) -> OperationCount:
    """Gradient through `normalised`, with respect to input, scale and shift; the statistics are kept from forward.

    Algorithm: y = d * r (one subtraction, one multiplication), for the input or the scale; for the input
    g = grad * scale if there is one, per group a = sum(g), b = sum(g * y), each divided by n, and
    grad_x = (g - a - y * b) * r; for the scale, per channel, sum(grad * y), and for the shift sum(grad).
    What is not needed is not computed; by default all there is.
    """
    of_input, of_scale, of_shift = needed or (True, scale, scale)
    elements = groups * length
    sums = OperationCount(add=elements - channels)
    count = OperationCount()
    if of_input or of_scale:
        count = count + OperationCount(add=elements, multiply=elements)
    if of_input:
        count = count + OperationCount(
            add=2 * (elements - groups) + 2 * elements,
            multiply=(elements if scale else 0) + elements + 2 * elements,
            divide=2 * groups,
        )
    if of_scale:
        count = count + OperationCount(multiply=elements) + sums
    return count + sums if of_shift else count


def batch_norm_inference_gradient(
    elements: Number, channels: Number, *, scale: bool = True, needed: Needed | None = None
) -> OperationCount:
    """Gradient through batch normalisation with stored statistics.

    Algorithm: per channel r = 1 / sqrt(variance + epsilon), for the input or the scale, and gamma * r if there is a
    gamma; grad_x = grad * (gamma * r); grad_beta = sum(grad); grad_gamma = sum(grad * ((x - mean) * r)). What is not
    needed is not computed; by default all there is.
    """
    of_input, of_scale, of_shift = needed or (True, scale, scale)
    sums = OperationCount(add=elements - channels)
    count = OperationCount()
    if of_input or of_scale:
        count = count + OperationCount(add=channels, sqrt=channels, divide=channels)
    if of_input:
        count = count + OperationCount(multiply=(channels if scale else 0) + elements)
    if of_scale:
        count = count + OperationCount(add=elements, multiply=2 * elements) + sums
    return count + sums if of_shift else count
