"""Tally: the result of counting, a frozen tree of layers with totals, and what could not be counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deepspeech2.errors import InputError, OptionError
from deepspeech2.flops.conventions import headline
from deepspeech2.flops.memory import Memory
from deepspeech2.flops.operations import NOTHING, Number, OperationCount, total_of
from deepspeech2.units import format_count

_FORMAT = "deepspeech2-tally"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of a tally: a module, or one operator used directly by a module.

    Attributes:
        name: dotted path of the module; an operator inside a module that has children is `path/operator`.
        operator: the torch function or operator that dominates the row, or the class of a module with children.
        phase: `forward`, `backward` or `optimiser`.
        output_shape: shape of the last result.
        parameters: trainable and frozen parameters this module holds itself (shared ones count where first used).
        calls: how many operator calls this row sums up.
        own: operations of this row alone; a module with children holds none itself.
        bytes_read: size of the tensors its operators read, each call anew (no cache is assumed).
        bytes_written: size of the tensors its operators write.
        children: rows inside this one, in order of execution.
        times: how often the module ran, or the operator that names the row; 0 where that depends on a size.
        shapes_differ: whether the results were of several shapes.
        unknown_calls: how many of the calls, those of rows inside not among them, have no formula.
    """

    name: str
    operator: str
    phase: str = "forward"
    output_shape: tuple[Number, ...] = ()
    parameters: int = 0
    calls: int = 0
    own: OperationCount = NOTHING
    bytes_read: Number = 0
    bytes_written: Number = 0
    children: tuple[Layer, ...] = ()
    times: int = 1
    shapes_differ: bool = False
    unknown_calls: int = 0

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Layer]]:
        """This row and all below it, parents first, with their depth."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)

    @property
    def total(self) -> OperationCount:
        """Operations of this row and everything below it."""
        return total_of(layer.own for _, layer in self.walk())

    @property
    def holds_itself(self) -> bool:
        """Whether it is a row of its own, not only the sum of those inside it."""
        return bool(not self.children or self.own or self.parameters or self.unknown_calls)

    @property
    def macs(self) -> Number:
        """Multiply-accumulates of this row and everything below it."""
        return self.total.macs

    @property
    def flops(self) -> Number:
        """Floating-point operations (`standard`) of this row and everything below it."""
        return self.total.total


@dataclass(frozen=True, slots=True)
class UnknownOperator:
    """An operator without a formula.

    Attributes:
        operator: its qualified name.
        calls: how often it was called.
        sites: `file:line` of the calls in the counted program.
        reason: why it is not counted.
    """

    operator: str
    calls: int
    sites: tuple[str, ...]
    reason: str = "no formula"


@dataclass(frozen=True)
class Tally:
    """What a program computes, counted.

    Attributes:
        layers: the rows at the top of the tree.
        unknown: operators that could not be counted; with any, every total is a lower bound.
        memory: bytes of the program's tensors and the most alive at once; None where sizes are symbols and for graphs
            that are not run (ONNX).
        notes: what else a reader has to know, in sentences.

    Example:
        >>> import torch
        >>> from deepspeech2 import count
        >>> tally = count(torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU()), torch.zeros(2, 8))
        >>> tally.macs, tally.flops, tally.complete
        (64, 136, True)
        >>> [(layer.name, layer.flops) for layer in tally.layers]
        [('0', 128), ('1', 8)]
    """

    layers: tuple[Layer, ...]
    unknown: tuple[UnknownOperator, ...] = ()
    memory: Memory | None = None
    notes: tuple[str, ...] = ()
    _total: OperationCount = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_total", total_of(layer.total for layer in self.layers))

    def __str__(self) -> str:
        """The headline in one line, whether it is all, and how to see the layers."""
        bound = "" if self.complete else ">= "
        amounts = []
        for amount, unit in ((self.flops, "FLOP"), (self.macs, "MAC")):
            exact = isinstance(amount, int)
            amounts.append(
                f"{bound}{format_count(float(amount), unit)} ({amount:,})" if exact else f"{bound}{amount} {unit}"
            )
        names = dict.fromkeys(one.operator for one in self.unknown)
        rest = f"not counted: {', '.join(names)}" if names else "every operator counted"
        return f"{', '.join(amounts)}; {rest}; deepspeech2.render_table(tally) shows the layers"

    @property
    def complete(self) -> bool:
        """Whether every operator was counted; otherwise the totals are lower bounds."""
        return not self.unknown

    @property
    def count(self) -> OperationCount:
        """All operations of all kinds."""
        return self._total

    @property
    def kinds(self) -> dict[str, Number]:
        """Exact number of each kind of floating-point operation."""
        return self._total.kinds

    @property
    def flops(self) -> Number:
        """Floating-point operations, every kind counting one (the `standard` convention)."""
        return self._total.total

    @property
    def macs(self) -> Number:
        """Multiply-accumulate pairs inside products."""
        return self._total.macs

    @property
    def padding_macs(self) -> Number:
        """The part of `macs` that multiplies zeros of a padding."""
        return self._total.padding_macs

    @property
    def modelled(self) -> Number:
        """The part of `flops` that a stated model gives (FFT, sorting), not an algorithm."""
        return self._total.modelled

    @property
    def integer_operations(self) -> Number:
        """Operations on integers, which are in no floating-point total."""
        return self._total.integer

    @property
    def parameters(self) -> int:
        """Parameters of all layers, shared ones once."""
        return sum(layer.parameters for _, layer in self.walk())

    @property
    def bytes_read(self) -> Number:
        """Bytes read by all operators, each call anew."""
        return sum(layer.bytes_read for _, layer in self.walk())

    @property
    def bytes_written(self) -> Number:
        """Bytes written by all operators."""
        return sum(layer.bytes_written for _, layer in self.walk())

    def total(self, convention: str = "standard") -> Number:
        """The headline number of a convention: `standard`, `gemm`, `mac` or `notebook`."""
        return headline(self._total, convention)

    def walk(self) -> Iterator[tuple[int, Layer]]:
        """All rows with their depth, parents first."""
        for layer in self.layers:
            yield from layer.walk()

    def rows(self, depth: int | None = None) -> list[Layer]:
        """Flat rows whose `own` counts add up to the totals; rows below `depth` are summed into their parent."""
        return [row for layer in self.layers for row in _flatten(layer, depth)]

    def by_operator(self) -> dict[str, OperationCount]:
        """Operations by operator, in order of first use."""
        sums: dict[str, OperationCount] = {}
        for row in self.rows():
            sums[row.operator] = sums.get(row.operator, NOTHING) + row.own
        return sums

    def phase(self, name: str) -> OperationCount:
        """Operations of one phase: `forward`, `backward` or `optimiser`.

        Raises:
            OptionError: There is no phase of that name.
        """
        if name not in ("forward", "backward", "optimiser"):
            raise OptionError(f"expected a phase of forward, backward or optimiser, found {name!r}")
        return total_of(layer.own for _, layer in self.walk() if layer.phase == name)

    def map(self, function: Callable[[Number], Number]) -> Tally:
        """The same tally with a function applied to every number that may be symbolic."""
        return replace(self, layers=tuple(_map_layer(layer, function) for layer in self.layers))

    def combine(self, others: Sequence[Tally], function: Callable[[Sequence[Number]], Number]) -> Tally:
        """The tally whose every number is a function of the corresponding numbers of several tallies.

        Raises:
            ValueError: the tallies do not have the same rows.
        """
        if any(one.unknown != self.unknown and len(one.unknown) != len(self.unknown) for one in others):
            raise ValueError("operators without a formula differ")
        layers = _combine_layers([self.layers, *(one.layers for one in others)], function)
        return Tally(layers, self.unknown, notes=self.notes)

    def to_json(self) -> str:
        """The whole tally as JSON text; expressions become strings."""
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "layers": [_layer_to_dict(layer) for layer in self.layers],
            "unknown": [
                {"operator": one.operator, "calls": one.calls, "sites": list(one.sites), "reason": one.reason}
                for one in self.unknown
            ],
            "memory": None if self.memory is None else self.memory.to_dict(),
            "notes": list(self.notes),
        }
        return json.dumps(document)

    @classmethod
    def from_json(cls, text: str | bytes) -> Tally:
        """The inverse of `to_json`.

        Raises:
            InputError: the text is not a tally of this version.
        """
        try:
            document = json.loads(text)
            if document["format"] != _FORMAT or document["version"] != _VERSION:
                raise KeyError("format")
            layers = tuple(_layer_from_dict(layer) for layer in document["layers"])
            unknown = tuple(
                UnknownOperator(one["operator"], one["calls"], tuple(one["sites"]), one["reason"])
                for one in document["unknown"]
            )
            memory = None if document.get("memory") is None else Memory.from_dict(document["memory"])
            notes = tuple(map(str, document.get("notes", ())))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"expected the JSON of a tally, version {_VERSION}; found something else ({error!r})"
            ) from error
        return cls(layers, unknown, memory, notes)


def _flatten(layer: Layer, depth: int | None) -> Iterator[Layer]:
    if depth is not None and depth <= 1:
        below = [row for _, row in layer.walk()]
        for phase in dict.fromkeys(row.phase for row in below):
            rows = [row for row in below if row.phase == phase]
            yield replace(
                layer,
                phase=phase,
                parameters=sum(row.parameters for row in rows),
                calls=sum(row.calls for row in rows),
                own=total_of(row.own for row in rows),
                bytes_read=sum(row.bytes_read for row in rows),
                bytes_written=sum(row.bytes_written for row in rows),
                unknown_calls=sum(row.unknown_calls for row in rows),
                children=(),
            )
        return
    if layer.holds_itself:
        yield replace(layer, children=())
    for child in layer.children:
        yield from _flatten(child, None if depth is None else depth - 1)


def _map_layer(layer: Layer, function: Callable[[Number], Number]) -> Layer:
    return replace(
        layer,
        output_shape=tuple(function(size) for size in layer.output_shape),
        own=layer.own.map(function),
        bytes_read=function(layer.bytes_read),
        bytes_written=function(layer.bytes_written),
        children=tuple(_map_layer(child, function) for child in layer.children),
    )


def _combine_layers(
    columns: Sequence[tuple[Layer, ...]], function: Callable[[Sequence[Number]], Number]
) -> tuple[Layer, ...]:
    return tuple(_combine_layer(layers, function) for layers in zip(*columns, strict=True))


def _combine_layer(layers: Sequence[Layer], function: Callable[[Sequence[Number]], Number]) -> Layer:
    first = layers[0]
    if any((one.name, one.phase) != (first.name, first.phase) for one in layers):
        raise ValueError(f"row {first.name} is not in all of them")
    return replace(
        first,
        output_shape=tuple(function(sizes) for sizes in zip(*(one.output_shape for one in layers), strict=True)),
        own=OperationCount(*[function(amounts) for amounts in zip(*(one.own for one in layers), strict=True)]),
        bytes_read=function([one.bytes_read for one in layers]),
        bytes_written=function([one.bytes_written for one in layers]),
        times=first.times if all(one.times == first.times for one in layers) else 0,
        shapes_differ=any(one.shapes_differ for one in layers),
        children=_combine_layers([one.children for one in layers], function),
    )


def _number_to_json(number: Number) -> int | str:
    return number if isinstance(number, int) else str(number)


def _number_from_json(value: int | str) -> Number:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"expected a number or an expression, found {value!r}")
    if isinstance(value, int):
        return value
    from deepspeech2.flops.expressions import parse_expression

    return parse_expression(value)


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"expected an integer, found {value!r}")
    return value


def _layer_to_dict(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "operator": layer.operator,
        "phase": layer.phase,
        "output_shape": [_number_to_json(size) for size in layer.output_shape],
        "parameters": layer.parameters,
        "calls": layer.calls,
        "own": {name: _number_to_json(amount) for name, amount in layer.own.to_dict().items() if amount != 0},
        "bytes_read": _number_to_json(layer.bytes_read),
        "bytes_written": _number_to_json(layer.bytes_written),
        "times": layer.times,
        "shapes_differ": layer.shapes_differ,
        "unknown_calls": layer.unknown_calls,
        "children": [_layer_to_dict(child) for child in layer.children],
    }


def _layer_from_dict(document: Mapping[str, Any]) -> Layer:
    return Layer(
        name=str(document["name"]),
        operator=str(document["operator"]),
        phase=str(document["phase"]),
        output_shape=tuple(_number_from_json(size) for size in document["output_shape"]),
        parameters=_integer(document["parameters"]),
        calls=_integer(document["calls"]),
        own=OperationCount.from_dict({name: _number_from_json(value) for name, value in document["own"].items()}),
        bytes_read=_number_from_json(document["bytes_read"]),
        bytes_written=_number_from_json(document["bytes_written"]),
        children=tuple(_layer_from_dict(child) for child in document["children"]),
        times=_integer(document.get("times", 1)),
        shapes_differ=bool(document.get("shapes_differ", False)),
        unknown_calls=_integer(document.get("unknown_calls", 0)),
    )
