"""Mixtures of experts: products in groups, and the histogram that says how many rows an expert gets."""

from __future__ import annotations

from dataclasses import replace

from deepspeech2.flops.formulas.products import matrix_product
from deepspeech2.flops.operations import OperationCount
from deepspeech2.flops.registry import Call, register_formula


@register_formula("aten::_grouped_mm")
def _grouped_product(call: Call) -> OperationCount:
    """Each row (or column) meets the matrix of its own group, whichever that is: the groups' sizes do not matter.

    (rows, inner) x (groups, inner, columns), (groups, rows, inner) x (inner, columns) and a batch of products are one
    dot product per element of the result. (rows, inner) x (inner, columns) with the inner axis in groups has a
    result per group: as many products as without groups, and an addition less for every further result. Rows behind
    the last offset, which the kernel skips, count.
    """
    a, b = call["self"], call["mat2"]
    rows, inner, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    batch = a.shape[0] if len(a.shape) == len(b.shape) == 3 else 1
    count = matrix_product(rows, inner, columns, batch=batch)
    if len(a.shape) == len(b.shape) == 2:
        count = replace(count, add=count.multiply - call.output.elements)
    biased = call.output.elements if call.get("bias") is not None else 0
    return count + OperationCount(add=biased)


@register_formula("aten::histc")
def _histogram(call: Call) -> OperationCount:
    """Equal bins from `min` to `max`; where both are equal, from the smallest value to the largest.

    Algorithm: scale = bins / (max - min), once; per value two comparisons with the ends, (value - min) * scale, a
    comparison that keeps the largest value in the last bin, and one addition in the bin. Every value is taken to be
    inside.
    """
    values = call["self"].elements
    searched = 2 * (values - 1) if call["min"] == call["max"] else 0
    return OperationCount(multiply=values, add=2 * values + 1, divide=1, compare=3 * values + searched)
