"""Distances between all pairs of points, and their gradients."""

from __future__ import annotations

from dataclasses import replace

from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.operations import NOTHING, Number, OperationCount
from deepspeech2.flops.registry import Call, register_formula

_INFINITY = float("inf")


def _distances(pairs: Number, length: Number, norm: float) -> OperationCount:
    """The norm of the difference of each pair, directly; of order 2, one multiply-accumulate per coordinate."""
    each = pairs * length
    if norm == 2:
        return OperationCount(add=each + each - pairs, multiply=each, sqrt=pairs, macs=each)
    if norm == 1:
        return OperationCount(add=each + each - pairs, other=each)
    if norm == _INFINITY:
        return OperationCount(add=each, other=each, compare=each - pairs)
    if norm == 0:
        # How many coordinates differ.
        return OperationCount(compare=each, add=each - pairs)
    # sum(|a - b| ** p) ** (1 / p)
    return OperationCount(add=each + each - pairs, other=2 * each + pairs)


def _distances_gradient(pairs: Number, length: Number, norm: float, points: int) -> OperationCount:
    """The gradient of each pair's distance times that of its differences, added to so many of its points."""
    each = pairs * length
    added = OperationCount(add=each + points * each)
    if norm == 2:
        # (g / d) * difference
        return added + OperationCount(divide=pairs, multiply=each)
    if norm == 1:
        # g * sign(difference)
        return added + OperationCount(compare=2 * each, multiply=each)
    if norm == _INFINITY:
        # g * sign(difference) where it is the largest
        return added + OperationCount(other=each, compare=3 * each, multiply=each)
    if norm == 0:
        return NOTHING
    # (g / d ** (p - 1)) * difference * |difference| ** (p - 2)
    return added + OperationCount(other=2 * each + pairs, divide=pairs, multiply=2 * each)


@register_formula("aten::_cdist_forward")
def _cdist(call: Call) -> OperationCount:
    return _distances(call.output.elements, call["x1"].last, call["p"])


@register_formula("aten::_euclidean_dist")
def _euclidean_distance(call: Call) -> OperationCount:
    # |a|^2 + |b|^2 - 2 a.b as one product of vectors longer by two, then a clamp and a root.
    pairs = call.output.elements
    length = call["x1"].last
    norms = OperationCount(multiply=length, add=length - 1)
    vectors: Number = call["x1"].elements // length + call["x2"].elements // length
    # The two columns of norms are a device of this path: distances are as many pairs of numbers on every path.
    product = replace(dot_products(pairs, length + 2), macs=pairs * length)
    scaled = OperationCount(multiply=call["x1"].elements)
    return product + norms * vectors + scaled + OperationCount(compare=pairs, sqrt=pairs)


@register_formula("aten::_pdist_forward")
def _pairwise_distances(call: Call) -> OperationCount:
    return _distances(call.output.elements, call["self"].last, call["p"])


@register_formula("aten::_cdist_backward")
def _cdist_backward(call: Call) -> OperationCount:
    return _distances_gradient(call["cdist"].elements, call["x1"].last, call["p"], 1)


@register_formula("aten::_pdist_backward")
def _pairwise_distances_backward(call: Call) -> OperationCount:
    return _distances_gradient(call["pdist"].elements, call["self"].last, call["p"], 2)
