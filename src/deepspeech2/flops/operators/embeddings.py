"""Tables of vectors: gradients of look-ups, bags of vectors, rows held to a norm. A look-up itself is a move.

Padding and the sizes of bags are read from the ids and offsets where the trace knows them. Of unknown ones every id
counts, and a bag that may be empty as one that is not.
"""

from __future__ import annotations

import sympy
import torch
from torch.utils._python_dispatch import _disable_current_modes

from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.operations import NOTHING, Number, OperationCount, at_least_zero
from deepspeech2.flops.registry import Call, TensorSpec, register_formula


def _used(call: Call) -> Number:
    """Ids that are not the one of padding."""
    ids: TensorSpec = call["indices"]
    padding = call.get("padding_idx", -1)
    if padding is None or not isinstance(padding, int) or padding < 0 or ids.value is None:
        return ids.elements
    with _disable_current_modes():
        return int((ids.value != padding).sum())


@register_formula("aten::embedding_dense_backward", "aten::embedding_backward")
def _embedding_gradient(call: Call) -> OperationCount:
    """Every row of the gradient, but that of padding, is added to the row of its id.

    With `scale_grad_by_freq` it is multiplied before by the reciprocal of how often the id occurs.
    """
    gradient = call.get("grad_output") or call["grad"]
    return _scaled_rows(_used(call), gradient.last, by_frequency=bool(call.get("scale_grad_by_freq")))


def _scaled_rows(rows: Number, width: Number, *, by_frequency: bool) -> OperationCount:
    count = OperationCount(add=rows * width)
    return count + OperationCount(divide=rows, multiply=rows * width) if by_frequency else count


@register_formula("aten::_embedding_bag", "aten::_embedding_bag_forward_only")
def _embedding_bag(call: Call) -> OperationCount:
    """Each row joins its bag (mode 0 sum, 1 mean, 2 max), of which the first one is a copy; empty bags cost nothing."""
    width = call["weight"].shape[1]
    sizes = _bag_sizes(call)
    if sizes is None:
        used, filled = _used(call), call.output.shape[0]
        joined = _merged(used, filled) * width
    else:
        used, filled = sum(sizes), sum(1 for size in sizes if size)
        joined = (used - filled) * width
    if call.get("mode") == 2:
        return OperationCount(compare=joined)
    weighted = used * width if call.get("per_sample_weights") is not None else 0
    return OperationCount(add=joined, multiply=weighted, divide=filled * width if call.get("mode") == 1 else 0)


def _merged(rows: Number, bags: Number) -> Number:
    difference = rows - bags
    # A factor tells sympy that batch * time - batch is not negative.
    return at_least_zero(difference if isinstance(difference, int) else sympy.factor(difference))


def _bag_sizes(call: Call) -> list[int] | None:
    """Rows of each bag without padding, where the trace knows offsets and, if there is a padding, ids."""
    ids, offsets, padding = call["indices"], call["offsets"].value, call.get("padding_idx", -1)
    if offsets is None or (padding >= 0 and ids.value is None):
        return None
    with _disable_current_modes():
        total = torch.tensor([ids.elements])
        ends = offsets if call.get("include_last_offset") else torch.cat([offsets.to(total.dtype), total])
        kept = torch.ones(ids.elements) if padding < 0 else ids.value != padding
        before = torch.cat([torch.zeros(1, dtype=torch.int64), kept.to(torch.int64).cumsum(0)])
        return [int(size) for size in before[ends.to(torch.int64)].diff().tolist()]


@register_formula("aten::_embedding_bag_dense_backward", "aten::_embedding_bag_backward")
def _embedding_bag_gradient(call: Call) -> OperationCount:
    """Every row of a bag receives the bag's gradient (mode 1: divided by the bag's size, mode 2: only the largest do).

    Empty bags have no row that could.
    """
    if call.get("sparse"):
        raise NotImplementedError("a sparse gradient")
    bags = _filled(call) * call["grad"].last
    if call["mode"] == 2:
        return OperationCount(add=bags)
    used, width = _used(call), call["grad"].shape[1]
    weighted = OperationCount(multiply=used * width) if call.get("per_sample_weights") is not None else NOTHING
    count = _scaled_rows(used, width, by_frequency=bool(call.get("scale_grad_by_freq")))
    return count + weighted + OperationCount(divide=bags if call["mode"] == 1 else 0)


def _filled(call: Call) -> Number:
    """Bags that have rows; all of them where the trace does not know."""
    sizes: TensorSpec = call["bag_size"]
    if sizes.value is None:
        return call["grad"].shape[0]
    with _disable_current_modes():
        return int((sizes.value > 0).sum())


@register_formula("aten::_embedding_bag_per_sample_weights_backward")
def _bag_weights_gradient(call: Call) -> OperationCount:
    # The bag's gradient times the row, for every id.
    return dot_products(_used(call), call["grad"].last)


@register_formula("aten::embedding_renorm")
def _embedding_renorm(call: Call) -> OperationCount:
    # Per index the norm of its row, compared with the limit; limit / (norm + epsilon), times the row.
    rows: Number = call["indices"].elements
    width = call["self"].shape[1]
    norms = OperationCount(multiply=width, add=width - 1, sqrt=1)
    if call["norm_type"] != 2:
        norms = OperationCount(other=width + (0 if call["norm_type"] == 1 else width + 1), add=width - 1)
    return (norms + OperationCount(compare=1, add=1, divide=1, multiply=width)) * rows
