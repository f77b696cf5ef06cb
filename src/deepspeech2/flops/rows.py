"""Rows of a tally while it grows: calls summed by module, phase and operator, and the layers they become."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from deepspeech2.flops.operations import NOTHING, Number, OperationCount
from deepspeech2.flops.tally import Layer


@dataclass(slots=True)
class Row:
    """The calls of one operator in one phase.

    Attributes:
        operator: its name.
        first: when it was first called.
        shape: of the last result; None before there is one.
        calls: how many there were.
        times: how many functions the program called by this name, each of which may be several calls.
        unknown_calls: how many of the calls have no formula.
        own: what they computed.
        read: bytes read.
        written: bytes written.
    """

    operator: str
    first: int = 0
    shape: tuple[Number, ...] | None = None
    calls: int = 0
    times: int = 0
    unknown_calls: int = 0
    own: OperationCount = NOTHING
    read: Number = 0
    written: Number = 0

    _function: int | None = None
    _before: tuple[Number, ...] | None = None
    _differ: bool = False

    @property
    def shapes_differ(self) -> bool:
        """Whether functions had results of several shapes; what is made on the way to one does not matter."""
        return self._differ or self._before not in (None, self.shape)

    def begin_call(self, function: int | None, times: int) -> None:
        """A call, of the function of this number; what is part of none is a function of its own."""
        if function is not None and function == self._function:
            return
        self._differ, self._before = self.shapes_differ, self.shape
        self._function, self.times = function, self.times + times


@dataclass(slots=True)
class Node:
    """A module's place in the tree: its rows by (phase, operator) and the modules inside it, in order.

    Attributes:
        name: its path.
        first: when it first ran.
        kind: its class.
        merged: whether all its operators are one row.
        parameters: how many it holds itself.
        shape: of the last result of its forward.
        shapes_differ: whether its forward had results of several shapes.
        times: how often its forward ran.
    """

    name: str
    first: int = 0
    kind: str = ""
    merged: bool = False
    parameters: int = 0
    shape: tuple[Number, ...] | None = None
    shapes_differ: bool = False
    times: int = 0
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)

    def see(self, shape: tuple[Number, ...] | None, times: int) -> None:
        """The forward ran so often, with a result of this shape, if any."""
        self.times += times
        if shape is not None:
            self.shapes_differ = self.shapes_differ or self.shape not in (None, shape)
            self.shape = shape


def layers_of(node: Node) -> tuple[Layer, ...]:
    """The rows and modules inside a node, as layers, in order of first use."""
    placed = [(row.first, [_operator_layer(node, phase, row)]) for (phase, _), row in node.rows.items()]
    placed += [(child.first, list(module_layers(child))) for child in node.children.values()]
    return tuple(layer for _, layers in sorted(placed, key=lambda pair: pair[0]) for layer in layers)


def _operator_layer(node: Node, phase: str, row: Row) -> Layer:
    path = f"{node.name}/{row.operator}" if node.name else row.operator
    return Layer(
        path,
        row.operator,
        phase,
        row.shape or (),
        0,
        row.calls,
        row.own,
        row.read,
        row.written,
        # An optimiser updates all parameters of a row at once.
        times=1 if phase == "optimiser" else max(row.times, 1),
        shapes_differ=row.shapes_differ,
        unknown_calls=row.unknown_calls,
    )


def module_layers(node: Node) -> Iterator[Layer]:
    """A module as one layer (or one per phase, for a leaf), its operators inside."""
    phases = dict.fromkeys(phase for phase, _ in node.rows)
    if not node.children and (node.merged or len(node.rows) == len(phases)):
        parameters = node.parameters
        for phase in phases or {"forward": None}:
            rows = [row for (row_phase, _), row in node.rows.items() if row_phase == phase]
            yield _merged_layer(node, phase, rows, parameters)
            parameters = 0
        return
    yield Layer(
        node.name,
        node.kind,
        "forward",
        node.shape or (),
        node.parameters,
        children=layers_of(node),
        times=max(node.times, 1),
        shapes_differ=node.shapes_differ,
    )


def _merged_layer(node: Node, phase: str, rows: list[Row], parameters: int) -> Layer:
    if not rows:
        return Layer(node.name, node.kind, phase, node.shape or (), parameters, times=max(node.times, 1))
    busiest = rows[0]
    for row in rows:
        # With symbolic sizes there is no order; the first operator that computes names the row.
        larger = row.own.total > busiest.own.total if _comparable(row, busiest) else not busiest.own
        busiest = row if larger else busiest
    own, read, written, calls, unknown = NOTHING, 0, 0, 0, 0
    for row in rows:
        own, read, written, calls = own + row.own, read + row.read, written + row.written, calls + row.calls
        unknown += row.unknown_calls
    forward = phase == "forward"
    differ = node.shapes_differ if forward else len({row.shape for row in rows if row.shape is not None}) > 1
    times = node.times if forward and len(rows) > 1 else busiest.times
    return Layer(
        node.name,
        busiest.operator,
        phase,
        (node.shape if forward else rows[-1].shape) or (),
        parameters,
        calls,
        own,
        read,
        written,
        times=1 if phase == "optimiser" else max(times, 1),
        shapes_differ=differ or any(row.shapes_differ for row in rows if not forward or len(rows) == 1),
        unknown_calls=unknown,
    )


def _comparable(*rows: Row) -> bool:
    return all(isinstance(row.own.total, int) for row in rows)
