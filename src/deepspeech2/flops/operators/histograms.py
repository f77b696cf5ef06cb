"""Histograms: the bin of every value, and a count or a weight added to it."""

from __future__ import annotations

from math import ceil, log2
from typing import Any

from deepspeech2.flops.operations import NOTHING, Number, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula

# Inside the range (two comparisons), (x - low) * bins / (high - low), rounded down.
_BIN = OperationCount(compare=2, add=1, multiply=1, divide=1, other=1)


def _ends(call: Call, elements: Number, given: bool) -> OperationCount:
    """Smallest and largest value, where the range is not given."""
    return NOTHING if given else OperationCount(compare=2 * (elements - 1))


@register_formula("aten::histogram")
def _histogram(call: Call) -> OperationCount:
    """Bins of equal width by arithmetic; by edges, a binary search, which is modelled."""
    elements: Number = call["self"].elements
    edges = call["bins"]
    added = OperationCount(add=elements)
    if isinstance(edges, int):
        count = _BIN * elements + _ends(call, elements, bool(call.get("range")))
        count = count + OperationCount(multiply=edges + 1, add=edges + 1)
    else:
        comparisons = elements * ceil(log2(edges.elements + 1))
        count = OperationCount(compare=comparisons, modelled=comparisons)
    return count + added + _densities(call, call.output.elements)


def _densities(call: Call, bins: Any) -> OperationCount:
    """Every bin over the total and over its width."""
    return OperationCount(add=2 * bins - 1, divide=2 * bins) if call.get("density") else NOTHING


@register_formula("aten::_histogramdd_bin_edges")
def _edges(call: Call) -> OperationCount:
    edges = sum(output.elements for output in call.outputs)
    return OperationCount(multiply=edges, add=edges) + _ends(call, call["self"].elements, bool(call.get("range")))


@register_formula("aten::_histogramdd_from_bin_cts")
def _many_axes(call: Call) -> OperationCount:
    points: TensorSpec = call["self"]
    count = _BIN * points.elements + OperationCount(add=points.elements // points.last)
    return count + _densities(call, call.output.elements)


@register_formula("aten::bincount")
def _bincount(call: Call) -> OperationCount:
    elements = call["self"].elements
    return OperationCount(add=elements) if call.get("weights") is not None else OperationCount(integer=elements)
