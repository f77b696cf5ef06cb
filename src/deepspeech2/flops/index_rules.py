"""How each operator makes the index pattern of its result from those of its arguments; None where there is none."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import sympy
import torch

from deepspeech2.flops.formulas.bands import Band
from deepspeech2.flops.index_values import Choice, Operands, Pattern, Ramp
from deepspeech2.flops.operations import Number

Rule: TypeAlias = Callable[[Operands], "Pattern | None"]


# Births ------------------------------------------------------------------------------------------------------


def _arange(call: Operands) -> Pattern | None:
    numbers = [call.size(value) for value in call.args if isinstance(value, int | torch.SymInt)]
    if len(numbers) != len(call.args) or not numbers:
        return None
    start = numbers[0] if len(numbers) > 1 else 0
    step = numbers[2] if len(numbers) > 2 else 1
    return Ramp(start, {-1: step}) if isinstance(step, int) else None


def _filled(position: int | None, value: Any = None) -> Rule:
    def rule(call: Operands) -> Pattern | None:
        found = Ramp(value) if position is None else call[position]
        if not isinstance(found, Ramp) or found.slopes:
            return None
        return Ramp(bool(found.offset)) if call.output.dtype == torch.bool else found

    return rule


# Moves -------------------------------------------------------------------------------------------------------


def _moved(pattern: Pattern | None, places: Mapping[int, int]) -> Pattern | None:
    """The same values with axes at other places; an axis without a place must not matter."""
    if isinstance(pattern, Choice):
        band = pattern.band
        if band.row not in places or band.column not in places:
            return None
        return replace(pattern, band=_oriented(places[band.row], places[band.column], band.low, band.high))
    if pattern is None or any(axis not in places for axis in pattern.slopes):
        return None
    return replace(pattern, slopes={places[axis]: slope for axis, slope in pattern.slopes.items()})


def _oriented(row: int, column: int, low: Number | None, high: Number | None) -> Band:
    """The band with its left axis as the row."""
    if row < column:
        return Band(row, column, low, high)
    return Band(column, row, None if high is None else -high, None if low is None else -low)


def _unsqueeze(call: Operands) -> Pattern | None:
    rank = call.output.dim()
    born = call.argument(1) % rank - rank
    return _moved(call[0], {axis: axis if axis > born else axis - 1 for axis in range(-rank + 1, 0)})


def _reshape(call: Operands) -> Pattern | None:
    """Axes of size one may come and go."""
    before, after = call.sizes(call.args[0]), call.sizes(call.output)
    old = [axis - len(before) for axis, size in enumerate(before) if size != 1]
    new = [axis - len(after) for axis, size in enumerate(after) if size != 1]
    if [before[axis] for axis in old] != [after[axis] for axis in new]:
        return None
    return _moved(call[0], dict(zip(old, new, strict=True)))


def _permute(call: Operands) -> Pattern | None:
    rank = call.output.dim()
    order = [axis % rank for axis in call.argument(1)]
    return _moved(call[0], {axis - rank: order.index(axis) - rank for axis in range(rank)})


def _transpose(call: Operands) -> Pattern | None:
    rank = call.output.dim()
    first, second = (call.argument(index, default) % rank - rank for index, default in ((1, 0), (2, 1)))
    places = {axis: axis for axis in range(-rank, 0)}
    return _moved(call[0], {**places, first: second, second: first})


def _slice(call: Operands) -> Pattern | None:
    source = call.args[0]
    axis = call.argument(1, 0) % source.dim() - source.dim()
    start = call.size(call.argument(2) or 0)
    if call.argument(4, 1) != 1:
        return None
    if isinstance(start, int) and start < 0:
        start = call.sizes(source)[axis] + start
    return _shifted(call[0], axis, start)


def _shifted(pattern: Pattern | None, axis: int, start: Number) -> Pattern | None:
    """The pattern from an index of an axis on."""
    if isinstance(pattern, Ramp):
        return replace(pattern, offset=pattern.offset + pattern.slopes.get(axis, 0) * start) if start != 0 else pattern
    if pattern is None or start == 0 or axis not in (pattern.band.row, pattern.band.column):
        return pattern
    band = pattern.band
    move = start if axis == band.row else -start
    low, high = (None if bound is None else bound - move for bound in (band.low, band.high))
    return replace(pattern, band=replace(band, low=low, high=high))


def _triangle(lower: bool) -> Rule:
    def rule(call: Operands) -> Pattern | None:
        diagonal = call.size(call.argument(1, call.kwargs.get("diagonal", 0)))
        kept = Band(-2, -1, low=-diagonal) if lower else Band(-2, -1, high=-diagonal)
        pattern = call[0]
        if isinstance(pattern, Choice):
            band = pattern.band.intersection(kept)
            return Choice(band, pattern.inside, 0) if pattern.outside == 0 and band is not None else None
        if pattern is None or pattern.slopes:
            return None
        return Choice(kept, pattern.offset, 0)

    return rule


# Arithmetic --------------------------------------------------------------------------------------------------


def _linear(sign: int) -> Rule:
    def rule(call: Operands) -> Pattern | None:
        if call.kwargs.get("alpha", 1) != 1:
            return None
        return _sum(call[0], call[1], sign)

    return rule


def _sum(a: Pattern | None, b: Pattern | None, sign: int) -> Pattern | None:
    if isinstance(a, Ramp) and isinstance(b, Ramp):
        if a.magnitude or b.magnitude:
            return None
        axes = {**a.slopes, **b.slopes}
        slopes = {axis: a.slopes.get(axis, 0) + sign * b.slopes.get(axis, 0) for axis in axes}
        return Ramp(a.offset + sign * b.offset, {axis: slope for axis, slope in slopes.items() if slope})
    if isinstance(a, Choice) and isinstance(b, Ramp) and not b.slopes:
        return a.map(lambda value: value + sign * b.offset)
    if isinstance(b, Choice) and isinstance(a, Ramp) and not a.slopes:
        return b.map(lambda value: a.offset + sign * value)
    return None


def _product(call: Operands) -> Pattern | None:
    a, b = call[0], call[1]
    if isinstance(b, Choice):
        a, b = b, a
    if not isinstance(b, Ramp) or b.slopes or b.magnitude:
        return None
    if isinstance(a, Choice):
        return a.map(lambda value: value * b.offset)
    if a is None or a.magnitude or not isinstance(b.offset, int):
        return None
    return Ramp(a.offset * b.offset, {axis: slope * b.offset for axis, slope in a.slopes.items() if b.offset})


def _reversed_difference(call: Operands) -> Pattern | None:
    return _sum(call[1], call[0], -1)


def _negative(call: Operands) -> Pattern | None:
    return _sum(Ramp(0), call[0], -1)


def _magnitude(call: Operands) -> Pattern | None:
    pattern = call[0]
    return replace(pattern, magnitude=True) if isinstance(pattern, Ramp) else None


def _converted(call: Operands) -> Pattern | None:
    pattern = call[0]
    if call.output.dtype == torch.bool and isinstance(pattern, Choice):
        return pattern.map(bool)
    if call.output.dtype == torch.bool and isinstance(pattern, Ramp):
        return Ramp(bool(pattern.offset)) if not pattern.slopes and isinstance(pattern.offset, int) else None
    return pattern


# Comparisons and logic ---------------------------------------------------------------------------------------


def _comparison(compare: Callable[[Any, Any], Any]) -> Rule:
    def rule(call: Operands) -> Pattern | None:
        a, b = call[0], call[1]
        if isinstance(a, Choice) and isinstance(b, Ramp) and not b.slopes:
            return a.map(lambda value: compare(value, b.offset))
        if isinstance(a, Ramp) and isinstance(b, Ramp):
            return _within(a, b) if compare is operator.le and a.magnitude else _compared(a, b, compare)
        return None

    return rule


def _within(a: Ramp, b: Ramp) -> Pattern | None:
    """|a| <= b: between both bounds."""
    if b.slopes:
        return None
    value = replace(a, magnitude=False)
    return _and(_compared(value, b, operator.le), _compared(value, Ramp(-b.offset), operator.ge))


def _compared(a: Ramp, b: Ramp, compare: Callable[[Any, Any], Any]) -> Pattern | None:
    difference = _sum(a, b, -1)
    if not isinstance(difference, Ramp):
        return None
    offset, slopes = difference.offset, dict(difference.slopes)
    if not slopes:
        return Ramp(bool(compare(offset, 0))) if isinstance(offset, bool | int | float) else None
    if compare is operator.ge and min(slopes.values()) > 0 and isinstance(offset, int) and offset >= 0:
        return Ramp(True)
    if sorted(slopes.values()) != [-1, 1] or not isinstance(offset, int | sympy.Expr):
        return None
    row, column = sorted(slopes, key=lambda axis: -slopes[axis])
    # row - column + offset, compared with zero.
    bounds = {
        operator.le: (None, -offset),
        operator.lt: (None, -offset - 1),
        operator.ge: (-offset, None),
        operator.gt: (-offset + 1, None),
        operator.eq: (-offset, -offset),
        operator.ne: (-offset, -offset),
    }
    band = _oriented(row, column, *bounds[compare])
    return Choice(band, compare is not operator.ne, compare is operator.ne)


def _and(a: Pattern | None, b: Pattern | None) -> Pattern | None:
    if isinstance(b, Ramp):
        a, b = b, a
    if isinstance(a, Ramp):
        return (b if a.offset else Ramp(False)) if not a.slopes and isinstance(a.offset, bool) else None
    if a is None or b is None or not isinstance(b, Choice):
        return None
    first, second = a.true_band(), b.true_band()
    both = None if first is None or second is None else first.intersection(second)
    return None if both is None else Choice(both, True, False)


def _not(pattern: Pattern | None) -> Pattern | None:
    if isinstance(pattern, Choice):
        return pattern.map(operator.not_)
    return Ramp(not pattern.offset) if pattern is not None and isinstance(pattern.offset, bool) else None


def _of_booleans(function: Callable[[Pattern | None, Pattern | None], Pattern | None]) -> Rule:
    def rule(call: Operands) -> Pattern | None:
        return function(call[0], call[1]) if call.output.dtype == torch.bool else None

    return rule


def _chosen(condition: Pattern | None, a: Pattern | None, b: Pattern | None) -> Pattern | None:
    """`a` where a boolean pattern is true, else `b`; both constants."""
    if not isinstance(condition, Choice) or not isinstance(a, Ramp) or not isinstance(b, Ramp) or a.slopes or b.slopes:
        return None
    return condition.map(lambda value: a.offset if value else b.offset)


RULES: dict[str, Rule] = {
    "arange": _arange,
    "full": _filled(1),
    "full_like": _filled(1),
    "new_full": _filled(2),
    "fill": _filled(1),
    "scalar_tensor": _filled(0),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), _filled(None, 1)),
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros", "zero"), _filled(None, 0)),
    "unsqueeze": _unsqueeze,
    **dict.fromkeys(("view", "_unsafe_view", "squeeze", "reshape"), _reshape),
    "permute": _permute,
    "transpose": _transpose,
    "t": _transpose,
    "slice": _slice,
    **dict.fromkeys(("expand", "clone", "detach", "alias", "contiguous", "lift_fresh"), lambda call: call[0]),
    "tril": _triangle(True),
    "triu": _triangle(False),
    "add": _linear(1),
    "sub": _linear(-1),
    "rsub": _reversed_difference,
    "mul": _product,
    "neg": _negative,
    "abs": _magnitude,
    "_to_copy": _converted,
    "logical_not": lambda call: _not(_converted(call)),
    "bitwise_not": lambda call: _not(call[0]) if call.output.dtype == torch.bool else None,
    "bitwise_and": _of_booleans(_and),
    "logical_and": _of_booleans(_and),
    "bitwise_or": _of_booleans(lambda a, b: _not(_and(_not(a), _not(b)))),
    "logical_or": _of_booleans(lambda a, b: _not(_and(_not(a), _not(b)))),
    "where": lambda call: _chosen(call[0], call[1], call[2]),
    "masked_fill": lambda call: _chosen(call[1], call[2], call[0]),
    **{name: _comparison(getattr(operator, name)) for name in ("le", "lt", "ge", "gt", "eq", "ne")},
}
