"""Sorting and selection: comparisons depend on the values, so their counts are modelled, and marked so."""

from __future__ import annotations

from math import ceil, log2

from deepspeech2.errors import CountingError
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, register_formula


@register_formula(
    "aten::sort",
    "aten::argsort",
    "aten::topk",
    "aten::kthvalue",
    "aten::median",
    "aten::_unique",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::msort",
    "aten::nanmedian",
    "aten::mode",
)
def _sort(call: Call) -> OperationCount:
    """N * ceil(log2 n) comparisons per row of n: merge sort's bound. Without an axis all N are one row."""
    tensor = call.tensors[0]
    axis = 0 if call.operator == "aten::msort" else call.get("dim")
    length = tensor.elements if axis is None else tensor.shape[axis] if tensor.shape else 1
    if not isinstance(length, int):
        raise CountingError(f"a sort's length must be a number to be modelled, found the expression {length}")
    comparisons: Number = tensor.elements * ceil(log2(max(length, 1)))
    return OperationCount(compare=comparisons, modelled=comparisons)


@register_formula("aten::searchsorted", "aten::bucketize")
def _search(call: Call) -> OperationCount:
    """ceil(log2(n + 1)) comparisons per value: a binary search."""
    boundaries = call.get("sorted_sequence") or call["boundaries"]
    length = boundaries.last
    if not isinstance(length, int):
        raise CountingError(f"a search's length must be a number to be modelled, found the expression {length}")
    comparisons = call.output.elements * ceil(log2(length + 1))
    return OperationCount(compare=comparisons, modelled=comparisons)


@register_formula("aten::multinomial")
def _multinomial(call: Call) -> OperationCount:
    # A cumulative sum, a normalisation, a draw and a binary search per sample.
    tensor, samples = call["self"], call.output.elements
    length = tensor.last
    searched = samples * (ceil(log2(length + 1)) if isinstance(length, int) else 1)
    return OperationCount(
        add=tensor.elements, divide=tensor.elements, other=samples, compare=searched, modelled=searched
    )
