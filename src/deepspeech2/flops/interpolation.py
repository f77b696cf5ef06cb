"""Closed formulas of programs that loop over a dimension in Python: exact interpolation, verified.

A loop hides its length from symbolic tracing, but the counts at a few lengths determine the formula all the same: with
strides and windows they are polynomials in the length on each residue class of some period. The polynomial of the
example's class is found from three lengths and must predict three others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import sympy

from deepspeech2.errors import ClosedFormError
from deepspeech2.flops.closed_form import ClosedForm
from deepspeech2.flops.dimensions import SymbolicInputs
from deepspeech2.flops.expressions import dimension, evaluate
from deepspeech2.flops.operations import Number
from deepspeech2.flops.tally import Tally

_PERIODS = (1, 2, 3, 4, 6, 12)
# Below this length windows reach over both ends of the input and the count is not yet regular.
_START = 24

CountAt = Callable[[Mapping[str, int]], Tally]


def interpolate(
    count_at: CountAt, dimensions: SymbolicInputs, loops: Sequence[str], *, start: int = _START
) -> ClosedForm:
    """Find the formula in looped dimensions from counts at short lengths; other dimensions stay symbols.

    Args:
        count_at: counts with the given dimensions fixed; the others are symbols in the result.
        dimensions: all symbolic dimensions and the sizes of the example.
        loops: the dimensions the program loops over; one is taken after the other.
        start: lengths are at least about this, unless the example is shorter.

    Raises:
        ClosedFormError: no period up to 12 gives a quadratic polynomial that predicts the counts at other lengths.
    """
    name, *rest = sorted(loops, key=lambda loop: (loop == "batch", loop))
    known: dict[int, Tally] = {}
    conditions: list[sympy.Basic] = []

    def at(length: int) -> Tally:
        if length not in known:
            if rest:
                rest_at = dimensions.without([name])
                inner = interpolate(lambda sizes: count_at({name: length, **sizes}), rest_at, rest, start=start)
                conditions.extend(inner.conditions)
                known[length] = inner.tally
            else:
                known[length] = count_at({name: length})
        return known[length]

    for period in _PERIODS:
        first = _first_length(name, dimensions.sizes[name], period, start)
        lengths = [first + step * period for step in range(3)]
        try:
            tally = at(lengths[0]).combine([at(length) for length in lengths[1:]], _Parabola(name, lengths))
        except ValueError as error:
            raise ClosedFormError(
                f"the program does different things at different sizes of {name} ({error})"
            ) from error
        held_out = [first + step * period for step in (3, 5, 8)]
        if all(_agrees(tally, name, length, at(length)) for length in held_out):
            domain = dict.fromkeys([*_domain(name, first, period), *conditions])
            formula = ClosedForm(tally, dimensions.names, tuple(domain), "interpolated")
            # Nearby, and far away: a count that grows by steps looks like a polynomial between two of them.
            for steps in (9, 9 + 3 * first // period):
                _verify(count_at, dimensions, formula, {name: first + steps * period})
            return formula
    raise ClosedFormError(
        f"the count is not a quasi-polynomial in {name}: no quadratic on the residue classes of "
        f"{', '.join(map(str, _PERIODS))} predicts the counts at other lengths"
    )


def _first_length(name: str, size: int, period: int, start: int) -> int:
    """The shortest length to count at: in the residue class of the example's, and one for a batch."""
    if name == "batch":
        return 1
    return size if size < start else start + (size - start) % period


class _Parabola:
    """The polynomial of degree two through three equidistant points (Newton's divided differences)."""

    def __init__(self, name: str, lengths: Sequence[int]) -> None:
        self.symbol = dimension(name)
        self.lengths = lengths

    def __call__(self, values: Sequence[Number]) -> Number:
        first, second, third = values
        slope, bend = second - first, third - 2 * second + first
        if slope == 0 and bend == 0:
            return first
        step = sympy.Integer(self.lengths[1] - self.lengths[0])
        here = self.symbol - self.lengths[0]
        there = self.symbol - self.lengths[1]
        return sympy.expand(first + slope * here / step + bend * here * there / (2 * step**2))


def _agrees(tally: Tally, name: str, length: int, expected: Tally) -> bool:
    def predicted(number: Number) -> Number:
        if isinstance(number, int):
            return number
        value = sympy.expand(number.subs(dimension(name), length))
        return int(value) if value.is_Integer else value

    found = tally.count.map(predicted)
    return all(sympy.expand(a - b) == 0 for a, b in zip(found, expected.count, strict=True))


def _domain(name: str, start: int, period: int) -> tuple[sympy.Basic, ...]:
    symbol = dimension(name)
    domain: list[sympy.Basic] = [sympy.Ge(symbol, start)] if start > 1 else []
    if period > 1:
        domain.append(sympy.Eq(sympy.Mod(symbol, period), start % period))
    return tuple(domain)


def _verify(count_at: CountAt, dimensions: SymbolicInputs, formula: ClosedForm, looped: Mapping[str, int]) -> None:
    """Compare with an integer count at a held-out length and a batch of one."""
    others = {name: 1 if name == "batch" else size for name, size in dimensions.sizes.items() if name not in looped}
    sizes = {**others, **looped}
    expected = count_at(sizes)
    found = formula.tally.map(lambda number: evaluate(number, sizes))
    if found.count != expected.count:
        raise ClosedFormError(
            f"the count is no closed formula in {', '.join(dimensions.names)}: at {sizes} the formula gives "
            f"{found.flops} operations and counting gives {expected.flops}"
        )
