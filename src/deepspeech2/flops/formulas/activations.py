"""Activations and softmaxes. A softmax over nothing computes nothing."""

from __future__ import annotations

from deepspeech2.flops.operations import NOTHING, Number, OperationCount


def relu(elements: Number) -> OperationCount:
    """max(x, 0): one comparison per element. Notebook: one."""
    return OperationCount(compare=elements, notebook=elements)


def clipped_relu(elements: Number) -> OperationCount:
    """min(max(x, 0), limit): two comparisons per element. Notebook: one."""
    return OperationCount(compare=2 * elements, notebook=elements)


def sigmoid(elements: Number) -> OperationCount:
    """1 / (1 + exp(-x)): a negation, an exponential, an addition and a division per element."""
    return OperationCount(add=2 * elements, exp=elements, divide=elements)


def softmax(rows: Number, length: Number) -> OperationCount:
    """Softmax over `length`, stabilised by the maximum.

    Algorithm: m = max(x), length - 1 comparisons; e = exp(x - m); s = sum(e), length - 1 additions; e / s.
    Notebook: 3 * length - 1 per row.
    """
    if length == 0:
        return NOTHING
    elements = rows * length
    return OperationCount(
        compare=elements - rows,
        add=elements + elements - rows,
        exp=elements,
        divide=elements,
        notebook=3 * elements - rows,
    )


def log_softmax(rows: Number, length: Number) -> OperationCount:
    """Logarithm of softmax: d = x - max(x), then d - log(sum(exp(d))).

    Notebook: it knows no log-softmax; charged as its softmax, which this stands for.
    """
    if length == 0:
        return NOTHING
    elements = rows * length
    return OperationCount(
        compare=elements - rows,
        add=2 * elements + elements - rows,
        exp=elements,
        log=rows,
        notebook=3 * elements - rows,
    )


def softmax_gradient(rows: Number, length: Number) -> OperationCount:
    """Y * (g - sum(g * y)) per row: the dot product, a subtraction and a multiplication per element."""
    if length == 0:
        return NOTHING
    elements = rows * length
    return OperationCount(multiply=2 * elements, add=elements - rows + elements)


def log_softmax_gradient(rows: Number, length: Number) -> OperationCount:
    """G - exp(y) * sum(g) per row."""
    if length == 0:
        return NOTHING
    elements = rows * length
    return OperationCount(multiply=elements, add=elements - rows + elements, exp=elements)


def dropout(elements: Number) -> OperationCount:
    """Dropout in training.

    Algorithm: per element a draw, the mask divided by the probability to keep, and their product.
    """
    return OperationCount(other=elements, divide=elements, multiply=elements)


def dropout_gradient(elements: Number) -> OperationCount:
    """Gradient of `dropout`: times the mask, times the scale."""
    return OperationCount(multiply=2 * elements)
