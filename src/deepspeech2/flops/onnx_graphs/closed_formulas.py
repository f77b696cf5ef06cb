"""Closed formulas of ONNX files: free axes as symbols, found by exact interpolation.

A graph's shapes are followed in integers, so a formula comes from counts at a few sizes: a polynomial of degree two in
each named axis, on the residue class of the example's size where strides make one matter. It must predict the counts
at sizes it was not derived from; `at` counts sizes outside its class directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch

from deepspeech2.errors import ClosedFormError, InputError, OptionError
from deepspeech2.flops.closed_form import ClosedForm
from deepspeech2.flops.dimensions import resolve_dimensions
from deepspeech2.flops.interpolation import interpolate
from deepspeech2.flops.known_values import is_read
from deepspeech2.flops.tally import Layer, Tally

# Shortest lengths to count at, tried in turn: a graph may not take inputs shorter than its windows.
_STARTS = (24, 120, 600)
_EXAMPLE = {"batch": 2}
_EXAMPLE_SIZE = 240

CountInputs = Callable[[Mapping[str, Any]], Tally]


def free_axes(graph: Any) -> dict[str, list[tuple[str, int]]]:
    """Axes the file names instead of giving a size: name -> pairs (input, axis)."""
    weights = {one.name for one in graph.initializer}
    found: dict[str, list[tuple[str, int]]] = {}
    for one in graph.input:
        if one.name not in weights and one.type.HasField("tensor_type"):
            for axis, size in enumerate(one.type.tensor_type.shape.dim):
                if not size.HasField("dim_value") and size.dim_param:
                    found.setdefault(size.dim_param, []).append((one.name, axis))
    return found


def example_inputs(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Tensors of the given shapes, or of example sizes where an axis has only a name.

    Args:
        wanted: the graph's inputs by name, as `onnx.ValueInfoProto`.
        given: tensors or shapes by name.

    Raises:
        InputError: an axis has neither a size nor a name.
    """
    inputs: dict[str, torch.Tensor] = {}
    for name, one in wanted.items():
        value = given.get(name)
        if isinstance(value, torch.Tensor):
            inputs[name] = value
            continue
        if value is None:
            sizes = []
            for axis in one.type.tensor_type.shape.dim:
                if not axis.HasField("dim_value") and not axis.dim_param:
                    raise InputError(f"input {name!r} has an axis without a name or a size; give its shape")
                named = _EXAMPLE.get(axis.dim_param, _EXAMPLE_SIZE)
                sizes.append(axis.dim_value if axis.HasField("dim_value") else named)
            value = sizes
        shape = tuple(int(size) for size in getattr(value, "shape", value))
        inputs[name] = torch.empty(shape, device="meta")
    return inputs


def derive_formula(
    count: CountInputs,
    inputs: Mapping[str, torch.Tensor],
    symbolic: Mapping[str, Any],
    named: Mapping[str, list[tuple[str, int]]],
) -> ClosedForm:
    """Find the formula in the named dimensions.

    Args:
        count: counts the graph on inputs by name.
        inputs: example inputs by name.
        symbolic: as for `deepspeech2.count`; `...` is the axis the file calls by the name.
        named: axes the file names, as `free_axes` finds them.

    Raises:
        ClosedFormError: the count is no formula in these dimensions.
        OptionError: a dimension does not exist.
    """
    program = SimpleNamespace(symbolic_axes=dict(named))
    dimensions = resolve_dimensions(program, (), inputs, symbolic)
    if not dimensions.names:
        raise OptionError("a formula needs a dimension to depend on: symbolic={'batch': ...}")

    def count_at(sizes: Mapping[str, int]) -> Tally:
        return count(dimensions.resized((), inputs, {**dimensions.sizes, **sizes})[1])

    def computing_at(sizes: Mapping[str, int]) -> Tally:
        # Which moves are folded depends on sizes: rows without arithmetic are not part of a formula.
        tally = count_at(sizes)
        return Tally(_computing(tally.layers), tally.unknown)

    problem: ClosedFormError | InputError | None = None
    for start in _STARTS:
        try:
            found = interpolate(computing_at, dimensions, dimensions.names, start=start)
            found = replace(found, recount=count_at, axes=str(dimensions))
            # Inputs of other sizes have no values.
            resized = [inputs[str(name)] for name in dimensions.axes]
            return found.beside(count(inputs).count, dimensions.sizes) if any(map(is_read, resized)) else found
        except (ClosedFormError, InputError) as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _computing(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    kept = [replace(layer, children=_computing(layer.children)) for layer in layers]
    return tuple(layer for layer in kept if layer.own or layer.parameters or layer.children or layer.unknown_calls)
