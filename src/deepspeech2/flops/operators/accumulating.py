"""Operators that write by position and compute on what they write: accumulation, segments, gradients of copies."""

from __future__ import annotations

from itertools import zip_longest
from math import prod

import torch
from torch.utils._python_dispatch import _disable_current_modes

from deepspeech2.flops.operations import NOTHING, Number, OperationCount, at_least_zero
from deepspeech2.flops.registry import Call, TensorSpec, register_formula

_MASKS = (torch.bool, torch.uint8)


@register_formula("aten::index_put", "aten::_index_put_impl", "aten::_unsafe_index_put")
def _index_put(call: Call) -> OperationCount:
    """Writing is free; accumulating is one addition for every place that is written, repeated values included."""
    return OperationCount(add=_places(call)) if call.get("accumulate") else NOTHING


def _places(call: Call) -> Number:
    """Elements that an indexed write reaches: places of the broadcast indices, times the axes without an index."""
    target, axis, found, free = call["self"], 0, [], 1
    for index in call["indices"]:
        if index is None:
            free, axis = free * target.shape[axis], axis + 1
        elif index.dtype in _MASKS:
            if index.value is None:
                raise NotImplementedError("accumulates where a mask says, whose values are not known")
            with _disable_current_modes():
                found.append((int(index.value.count_nonzero()),))
            axis += len(index.shape)
        else:
            found.append(index.shape)
            axis += 1
    broadcast = zip_longest(*[shape[::-1] for shape in found], fillvalue=1)
    reached = prod(next((size for size in sizes if size != 1), 1) for sizes in broadcast)
    return reached * free * prod(target.shape[axis:])


def written_places(call: Call, name: str) -> Number | None:
    """Elements that an operator of this name writes by position, or None where a mask does not say."""
    if "index_put" in name:
        if any(index is not None and index.dtype in _MASKS and index.value is None for index in call["indices"]):
            return None
        return _places(call)
    if name in ("index_add", "index_reduce", "index_copy"):
        places: Number = call["source"].elements
        return places
    elements: Number = call["index"].elements
    return elements


@register_formula("aten::put")
def _put(call: Call) -> OperationCount:
    return OperationCount(add=call["source"].elements if call.get("accumulate") else 0)


@register_formula("aten::scatter")
def _scatter(call: Call) -> OperationCount:
    # Writing is free; with a reduction, every index adds to or multiplies what is there.
    reduction = call.get("reduce")
    if reduction is None:
        return NOTHING
    elements = call["index"].elements
    return OperationCount(multiply=elements) if reduction == "multiply" else OperationCount(add=elements)


@register_formula("aten::index_add")
def _index_add(call: Call) -> OperationCount:
    values = call["source"].elements
    return OperationCount(add=values, multiply=values if call.get("alpha", 1) != 1 else 0)


@register_formula("aten::scatter_add")
def _scatter_add(call: Call) -> OperationCount:
    # The source may be larger than the index; what has no index is not added.
    return OperationCount(add=call["index"].elements)


@register_formula("aten::scatter_reduce", "aten::index_reduce")
def _scatter_reduce(call: Call) -> OperationCount:
    """Every value joins what is where it belongs; a mean divides every element of the result."""
    values = call["source"].elements if call.operator == "aten::index_reduce" else call["index"].elements
    kind = _KINDS.get(call["reduce"], "compare")
    divisions = call.output.elements if call["reduce"] == "mean" else 0
    return OperationCount(**{kind: values}) + OperationCount(divide=divisions)


_KINDS = {"sum": "add", "mean": "add", "prod": "multiply"}


@register_formula("aten::segment_reduce")
def _segment_reduce(call: Call) -> OperationCount:
    """Every value joins its segment, of which the first one is a copy unless there is an initial value.

    Where the lengths are not known, every segment is taken to have a value.
    """
    data: TensorSpec = call["data"]
    width = prod(data.shape[call.get("axis", 0) + 1 :])
    lengths = _lengths(call)
    begun = 0 if call.get("initial") is not None else 1
    if lengths is None:
        segments: Number = call.output.elements
        joined = at_least_zero(data.elements - begun * segments)
    else:
        segments = width * sum(1 for length in lengths if length)
        joined = width * sum(max(length - begun, 0) for length in lengths)
    mean = OperationCount(divide=segments if call["reduce"] == "mean" else 0)
    return OperationCount(**{_KINDS.get(call["reduce"], "compare"): joined}) + mean


def _lengths(call: Call) -> list[int] | None:
    """Values in each segment, of all leading axes, where the trace knows them."""
    given = call.get("lengths")
    if given is None:
        given = call.get("offsets")
    if given is None or given.value is None:
        return None
    with _disable_current_modes():
        values = given.value if call.get("lengths") is not None else given.value.diff(dim=-1)
        return [int(value) for value in values.flatten().tolist()]


@register_formula("aten::_segment_reduce_backward")
def _segment_reduce_gradient(call: Call) -> OperationCount:
    elements, segments = call["data"].elements, call["output"].elements
    each = {
        "sum": NOTHING,
        "mean": OperationCount(divide=segments),
        # g * product / value
        "prod": OperationCount(multiply=elements, divide=elements),
    }
    # The largest: equal to the result, and shared among those that are.
    return each.get(call["reduce"], OperationCount(compare=elements, divide=segments))


@register_formula(
    "aten::reflection_pad1d_backward",
    "aten::reflection_pad2d_backward",
    "aten::reflection_pad3d_backward",
    "aten::replication_pad1d_backward",
    "aten::replication_pad2d_backward",
    "aten::replication_pad3d_backward",
    "aten::upsample_nearest1d_backward",
    "aten::upsample_nearest2d_backward",
    "aten::upsample_nearest3d_backward",
    "aten::_upsample_nearest_exact1d_backward",
    "aten::_upsample_nearest_exact2d_backward",
    "aten::_upsample_nearest_exact3d_backward",
    "aten::unfold_backward",
)
def _copied_gradient(call: Call) -> OperationCount:
    # Every gradient is added where its value was copied from.
    return OperationCount(add=call.tensors[0].elements)
