"""Batch, layer, group, instance and root-mean-square normalisation."""

from __future__ import annotations

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


def normalised_gradient(groups: Number, length: Number, channels: Number, *, scale: bool) -> OperationCount:
    """Gradient through `normalised`, with respect to input, scale and shift; the statistics are kept from forward.

    Algorithm: y = d * r (one subtraction, one multiplication); g = grad * scale; per group a = sum(g),
    b = sum(g * y), each divided by n; grad_x = (g - a - y * b) * r. Per channel, when there is a scale:
    sum(grad) and sum(grad * y).
    """
    elements = groups * length
    statistics = OperationCount(
        add=elements + 2 * (elements - groups) + 2 * elements,
        multiply=elements + elements + 2 * elements,
        divide=2 * groups,
    )
    if not scale:
        return statistics
    return statistics + OperationCount(multiply=2 * elements, add=2 * (elements - channels))


def batch_norm_inference_gradient(elements: Number, channels: Number) -> OperationCount:
    """Gradient through batch normalisation with stored statistics.

    Algorithm: per channel r = 1 / sqrt(variance + epsilon) and gamma * r; grad_x = grad * (gamma * r);
    grad_beta = sum(grad); grad_gamma = sum(grad * ((x - mean) * r)).
    """
    return OperationCount(
        add=channels + elements + 2 * (elements - channels),
        sqrt=channels,
        divide=channels,
        multiply=channels + elements + 2 * elements,
    )
