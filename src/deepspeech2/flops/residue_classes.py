"""Polynomials through counts: of one residue class, and of all classes of a period, a quasi-polynomial.

The latter is written with floors and remainders. On each class of n modulo p a count is a q^2 + b q + c with
q = floor(n / p); a, b and c depend on the remainder r = n mod p, as polynomials (a last chunk that is shorter) or by
steps (a stride), and are written as such.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import sympy

from deepspeech2.errors import InputError
from deepspeech2.flops.expressions import dimension
from deepspeech2.flops.operations import Number
from deepspeech2.flops.tally import Tally

_Values = Sequence[Any]


def all_classes(at: Callable[[int], Tally], name: str, first: int, period: int, degree: int) -> Tally | None:
    """The formula for all lengths from `first` on, or None where some class has none.

    Args:
        at: the tally at a length; numbers may be expressions in other dimensions.
        name: the dimension.
        first: the shortest length.
        period: number of classes.
        degree: of the polynomials, 1 or 2; each is taken from as many lengths as it needs, none checks it.
    """
    try:
        tallies = [at(first + offset) for offset in range((degree + 1) * period)]
        return tallies[0].combine(tallies[1:], _QuasiPolynomial(name, first, period))
    except (ValueError, InputError):
        # Other rows at some lengths, or lengths the program does not take.
        return None


def degree_in(tally: Tally, name: str) -> int:
    """The degree of the counts in a dimension, 1 or 2; 2 where they are no polynomials in it."""
    symbol = dimension(name)
    degrees = [1]
    for number in tally.count:
        if not isinstance(number, int) and number.has(symbol):
            linear = number.is_polynomial(symbol) and sympy.degree(number, symbol) < 2
            degrees.append(1 if linear else 2)
    return max(degrees)


class Parabola:
    """The polynomial through two or three equidistant points (Newton's divided differences)."""

    def __init__(self, name: str, lengths: Sequence[int]) -> None:
        """Args: the dimension, and its sizes at the points."""
        self.symbol = dimension(name)
        self.lengths = lengths

    def __call__(self, values: Sequence[Number]) -> Number:
        """The polynomial with these values."""
        first, second = values[:2]
        slope = second - first
        bend = values[2] - 2 * second + first if len(values) > 2 else 0
        if slope == 0 and bend == 0:
            return first
        step = sympy.Integer(self.lengths[1] - self.lengths[0])
        here = self.symbol - self.lengths[0]
        there = self.symbol - self.lengths[1]
        return sympy.expand(first + slope * here / step + bend * here * there / (2 * step**2))


class _QuasiPolynomial:
    """The expression that takes given values at consecutive lengths, two or three for each class."""

    def __init__(self, name: str, first: int, period: int) -> None:
        self.symbol = dimension(name)
        self.first, self.period = first, period
        self._seen: dict[tuple[Any, ...], Number] = {}

    def __call__(self, values: _Values) -> Number:
        key = tuple(values)
        if key not in self._seen:
            self._seen[key] = values[0] if all(value == values[0] for value in values) else self._expression(values)
        return self._seen[key]

    def _expression(self, values: _Values) -> Number:
        quotients = sympy.floor(self.symbol / self.period)
        rows = [self._coefficients(values, remainder) for remainder in range(self.period)]
        powers = [self._of_remainder([row[power] for row in rows]) for power in range(3)]
        found = sympy.expand(sum(factor * quotients**power for power, factor in enumerate(powers)))
        return int(found) if found.is_Integer else found

    def _coefficients(self, values: _Values, remainder: int) -> tuple[Any, Any, Any]:
        """c, b and a of one class, through its values."""
        offset = (remainder - self.first) % self.period
        low, middle, *more = values[offset :: self.period]
        start = (self.first + offset) // self.period
        bend = sympy.Rational(1, 2) * (more[0] - 2 * middle + low) if more else sympy.Integer(0)
        slope = (middle - low) - bend * (2 * start + 1)
        return tuple(sympy.expand(one) for one in (low - slope * start - bend * start**2, slope, bend))

    def _of_remainder(self, values: _Values) -> Any:
        """A function of the remainder: a polynomial where it is one, but for a remainder of none, else by steps."""
        rest = sympy.Mod(self.symbol, self.period)
        polynomial = _polynomial(values[1:], rest)
        if polynomial is None:
            jumps = [(place, sympy.expand(values[place] - values[place - 1])) for place in range(1, self.period)]
            return values[0] + sum(jump * self._at_least(place) for place, jump in jumps if jump != 0)
        jump = sympy.expand(values[0] - polynomial.subs(rest, 0))
        return polynomial if jump == 0 else polynomial + jump * (1 - self._at_least(1))

    def _at_least(self, remainder: int) -> Any:
        """One where the remainder is at least this, else zero."""
        return sympy.floor((self.symbol + self.period - remainder) / self.period) - sympy.floor(
            self.symbol / self.period
        )


def _polynomial(values: _Values, variable: Any) -> Any:
    """The polynomial of degree two at most with these values at 1, 2, ...; None where none has, or too few say so."""
    if all(sympy.expand(value - values[0]) == 0 for value in values):
        return values[0] + sympy.Integer(0)
    if len(values) < 4:
        return None
    slope = values[1] - values[0]
    bend = sympy.Rational(1, 2) * (values[2] - 2 * values[1] + values[0])
    found = sympy.expand(values[0] + slope * (variable - 1) + bend * (variable - 1) * (variable - 2))
    if all(sympy.expand(found.subs(variable, place + 1) - value) == 0 for place, value in enumerate(values)):
        return found
    return None
