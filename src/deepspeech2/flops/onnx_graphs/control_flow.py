"""If, Loop and Scan: graphs inside nodes, counted as often as they run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from deepspeech2.flops.onnx_graphs.values import NOTHING_KNOWN, Value, tensor_value
from deepspeech2.flops.onnx_graphs.walking import Place, Scope, Walker, attributes_of
from deepspeech2.flops.operations import OperationCount, lower_bound, same, total_of
from deepspeech2.flops.tally import Layer

Results = tuple[list[Value], list[Layer]]
# Loops whose values change shape from one iteration to the next are walked iteration by iteration, up to this many.
_MOST_UNROLLED = 2000


def count_if(walker: Walker, node: Any, inputs: list[Value | None], scope: Scope, place: Place) -> Results:
    """The branch that runs; where that depends on values, of each kind of operation the smaller number, noted."""
    graphs = attributes_of(node)
    condition = inputs[0]
    names = ["then_branch", "else_branch"]
    if condition is not None and condition.data is not None:
        chosen = names[0] if bool(np.all(condition.data)) else names[1]
        return _branch(walker, graphs[chosen], scope, place)
    both = [_branch(walker, graphs[name], scope, place) for name in names]
    results = [
        replace(one, data=None, fixed=False) if one.shape == other.shape else Value(None)
        for one, other in zip(both[0][0], both[1][0], strict=False)
    ]
    costs = [_cost(layers) for _, layers in both]
    if same(*costs):
        return results, both[0][1]
    walker.note_unknown(
        "onnx::If", "which branch runs depends on values; of each kind the smaller number is counted", place.path
    )
    rows = [layer for _, layers in both for top in layers for _, layer in top.walk()]
    least = Layer(
        f"{place.path}/If",
        "If",
        parameters=sum(row.parameters for row in rows),
        calls=1,
        own=lower_bound(*costs),
    )
    return results, [least]


def _branch(walker: Walker, graph: Any, scope: Scope, place: Place) -> Results:
    inner = scope.new_child()
    layers = walker.walk_graph(graph, inner, place)
    return [inner.get(one.name, NOTHING_KNOWN) for one in graph.output], layers


def _cost(layers: list[Layer]) -> OperationCount:
    return total_of(layer.total for layer in layers)


def count_scan(walker: Walker, node: Any, inputs: list[Value | None], scope: Scope, place: Place) -> Results:
    """The body, once for each slice of the scanned inputs (opset 9 and later)."""
    attributes = attributes_of(node)
    body, scanned = attributes["body"], int(attributes["num_scan_inputs"])
    states, sequences = inputs[: len(inputs) - scanned], inputs[len(inputs) - scanned :]
    axes = attributes.get("scan_input_axes") or [0] * scanned
    slices, trips = [], None
    for value, axis in zip(sequences, axes, strict=False):
        if value is None or value.shape is None or not -len(value.shape) <= axis < len(value.shape):
            slices.append(NOTHING_KNOWN)
            continue
        sizes = list(value.shape)
        trips = sizes.pop(axis)
        slices.append(tensor_value(value.element_type, tuple(sizes)))
    if trips is None:
        walker.note_unknown("onnx::Scan", "how often it runs depends on values", place.path)
        return [NOTHING_KNOWN] * len(node.output), []
    given = [_forgotten(value) for value in states]
    results, layers = _body(walker, body, [*given, *slices], scope, place)
    stacked_axes = attributes.get("scan_output_axes") or [0] * (len(results) - len(states))
    stacked = [_stacked(value, trips, axis) for value, axis in zip(results[len(states) :], stacked_axes, strict=False)]
    return [*given, *stacked], [_repeated(layer, trips) for layer in layers]


def count_loop(walker: Walker, node: Any, inputs: list[Value | None], scope: Scope, place: Place) -> Results:
    """The body, as often as the trip count says; noted where the count or a condition depends on values."""
    body = attributes_of(node)["body"]
    given = [*inputs, None, None][: max(2, len(inputs))]
    trips = int(given[0].data.reshape(-1)[0]) if given[0] is not None and given[0].data is not None else None
    condition = given[1]
    entered = True if condition is None else (None if condition.data is None else bool(np.all(condition.data)))
    if entered is False:
        trips = 0
    carried = [_forgotten(value) for value in given[2:]]
    if trips is None or entered is None:
        walker.note_unknown("onnx::Loop", "how often it runs depends on values", place.path)
        return [NOTHING_KNOWN] * len(node.output), []
    trips = max(0, trips)
    true = tensor_value(9, (), np.array(True), fixed=True)
    results, layers = _body(walker, body, [tensor_value(7, ()), true, *carried], scope, place)
    outcome, after = results[0], results[1 : 1 + len(carried)]
    if outcome.data is None or not bool(np.all(outcome.data)):
        walker.note_unknown("onnx::Loop", "whether it goes on depends on values; one iteration is counted", place.path)
        trips = min(trips, 1)
    if trips and [one.shape for one in after] != [one.shape for one in carried]:
        return _unrolled(walker, body, carried, trips, scope, place)
    stacked = [_stacked(value, trips, 0) for value in results[1 + len(carried) :]]
    return [*carried, *stacked], [_repeated(layer, trips) for layer in layers if trips]


def _unrolled(walker: Walker, body: Any, carried: list[Value], trips: int, scope: Scope, place: Place) -> Results:
    """A loop whose values grow: every iteration on its own, rows of one node summed."""
    if trips > _MOST_UNROLLED:
        walker.note_unknown("onnx::Loop", f"values change shape in each of {trips:,} iterations", place.path)
        return [NOTHING_KNOWN] * len(body.output), []
    rows: list[Layer] = []
    scanned: list[Value] = []
    true = tensor_value(9, (), np.array(True), fixed=True)
    for iteration in range(trips):
        number = tensor_value(7, (), np.array(iteration), fixed=True)
        results, layers = _body(walker, body, [number, true, *carried], scope, place)
        carried, scanned = results[1 : 1 + len(carried)], results[1 + len(carried) :]
        rows = (
            [_sum(one, other) for one, other in zip(rows, layers, strict=True)]
            if _same(rows, layers)
            else [
                *rows,
                *layers,
            ]
        )
    return [*carried, *[_stacked(value, trips, 0) for value in scanned]], rows


def _body(walker: Walker, body: Any, given: list[Value], scope: Scope, place: Place) -> Results:
    inner = scope.new_child({one.name: value for one, value in zip(body.input, given, strict=False)})
    layers = walker.walk_graph(body, inner, place)
    return [inner.get(one.name, NOTHING_KNOWN) for one in body.output], layers


def _forgotten(value: Value | None) -> Value:
    """A value of which the first iteration's numbers are not those of the others."""
    return NOTHING_KNOWN if value is None else replace(value, data=None, fixed=False, is_weight=False)


def _stacked(value: Value, trips: int, axis: int) -> Value:
    if value.shape is None:
        return NOTHING_KNOWN
    axis %= len(value.shape) + 1
    return tensor_value(value.element_type, (*value.shape[:axis], trips, *value.shape[axis:]))


def _repeated(layer: Layer, times: int) -> Layer:
    return replace(
        layer,
        calls=layer.calls * times,
        times=layer.times * times,
        unknown_calls=layer.unknown_calls * times,
        own=layer.own * times,
        bytes_read=layer.bytes_read * times,
        bytes_written=layer.bytes_written * times,
        children=tuple(_repeated(child, times) for child in layer.children),
    )


def _same(rows: list[Layer], others: list[Layer]) -> bool:
    """Whether two iterations have the same rows."""
    names = [[layer.name for row in some for _, layer in row.walk()] for some in (rows, others)]
    return names[0] == names[1]


def _sum(one: Layer, other: Layer) -> Layer:
    return replace(
        other,
        parameters=one.parameters + other.parameters,
        calls=one.calls + other.calls,
        times=one.times + other.times,
        shapes_differ=one.shapes_differ or other.shapes_differ or one.output_shape != other.output_shape,
        unknown_calls=one.unknown_calls + other.unknown_calls,
        own=one.own + other.own,
        bytes_read=one.bytes_read + other.bytes_read,
        bytes_written=one.bytes_written + other.bytes_written,
        children=tuple(map(_sum, one.children, other.children)),
    )
