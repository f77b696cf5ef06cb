"""OperationCount: the exact number of each kind of scalar floating-point operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import sympy

Number: TypeAlias = "int | sympy.Expr"
"""An exact count: a Python integer of any size, or an expression in symbolic dimensions."""

KINDS = ("multiply", "add", "divide", "sqrt", "exp", "log", "tanh", "compare", "other")
"""Kinds of operation. Subtraction and negation are `add`; max, min and clamp are `compare`."""


@dataclass(frozen=True, slots=True)
class OperationCount:
    """How many scalar operations of each kind a computation performs.

    The nine kinds are disjoint, and their sum is the number of floating-point operations. The remaining fields
    overlap with them or stand beside them and are never added to them.

    Attributes:
        multiply: multiplications.
        add: additions, subtractions and negations.
        divide: divisions and reciprocals.
        sqrt: square roots.
        exp: exponentials, of any base.
        log: logarithms, of any base.
        tanh: hyperbolic tangents.
        compare: comparisons, maxima, minima; a clamp on both sides is two.
        other: everything else that a floating-point unit or a mathematical library computes (erf, sin, abs,
            rounding, a random draw, a modelled FFT).
        macs: multiply-accumulate pairs inside products (overlaps with multiply and add, for products of integers with
            integer).
        padding_macs: the part of `macs` whose operand is a zero that padding put there.
        modelled: the part of the nine kinds that a stated model gives, not an algorithm (FFT, sorting).
        integer: operations on integers (index arithmetic, quantised products); no floating point.
        notebook: what the `notebook` convention charges for the same computation.

    Example:
        >>> product = OperationCount(multiply=6, add=4, macs=6)  # of six numbers, two sums of three
        >>> whole = 10 * product + OperationCount(exp=3)
        >>> whole.total, whole.kinds["multiply"], whole.macs
        (103, 60, 60)
    """

    multiply: Number = 0
    add: Number = 0
    divide: Number = 0
    sqrt: Number = 0
    exp: Number = 0
    log: Number = 0
    tanh: Number = 0
    compare: Number = 0
    other: Number = 0
    macs: Number = 0
    padding_macs: Number = 0
    modelled: Number = 0
    integer: Number = 0
    notebook: Number = 0

    def __add__(self, other: OperationCount) -> OperationCount:
        """Counts of two computations done one after the other."""
        return OperationCount(*[a + b if b is not _ZERO else a for a, b in zip(self, other, strict=True)])

    def __mul__(self, times: Number) -> OperationCount:
        """Counts of the same computation done `times` times."""
        return OperationCount(*[amount * times if amount is not _ZERO else 0 for amount in self])

    __rmul__ = __mul__

    def __iter__(self) -> Any:
        """All fields, in the order of their declaration."""
        return iter([getattr(self, name) for name in _FIELDS])

    @property
    def kinds(self) -> dict[str, Number]:
        """The nine disjoint kinds, by name."""
        return {name: getattr(self, name) for name in KINDS}

    @property
    def total(self) -> Number:
        """Every floating-point operation, each counted as one."""
        return sum(getattr(self, name) for name in KINDS)

    def __bool__(self) -> bool:
        """Whether anything at all is counted."""
        return any(amount != 0 for amount in self)

    def map(self, function: Callable[[Number], Number]) -> OperationCount:
        """Apply a function (substitution, conversion) to every field."""
        return OperationCount(*[function(amount) for amount in self])

    def to_dict(self) -> dict[str, Number]:
        """Every field by name."""
        return dict(zip(_FIELDS, self, strict=True))

    @classmethod
    def from_dict(cls, amounts: Mapping[str, Number]) -> OperationCount:
        """The inverse of `to_dict`; absent fields are zero.

        Raises:
            KeyError: a name is no field.
        """
        for name in amounts:
            if name not in _FIELDS:
                raise KeyError(name)
        return cls(**{name: amounts[name] for name in _FIELDS if name in amounts})


def at_least_zero(number: Number) -> Number:
    """max(0, number), for integers and expressions."""
    if isinstance(number, int):
        return max(0, number)
    from sympy import Max

    return Max(0, number)


def smaller(a: Number, b: Number) -> Number:
    """The smaller of two numbers, for integers and expressions."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    if _equal(a, b):
        return a
    from sympy import Min

    return Min(a, b)


def _equal(a: Number, b: Number) -> bool:
    """Whether two numbers are the same, expressions as polynomials."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    from sympy import expand

    return bool(expand(a - b) == 0)


_ZERO = 0
_FIELDS = tuple(field.name for field in fields(OperationCount))
NOTHING = OperationCount()
"""The count of a computation without arithmetic."""


def total_of(counts: Iterable[OperationCount]) -> OperationCount:
    """Sum of counts."""
    return reduce(OperationCount.__add__, counts, NOTHING)


def same(one: OperationCount, other: OperationCount) -> bool:
    """Whether two counts are equal in every kind."""
    return all(_equal(a, b) for a, b in zip(one, other, strict=True))


def lower_bound(one: OperationCount, other: OperationCount) -> OperationCount:
    """Of every kind the smaller number: what both computations do at least."""
    least = OperationCount(*[smaller(a, b) for a, b in zip(one, other, strict=True)])
    # Of kinds that differ less is left than either model gives.
    return replace(least, modelled=smaller(least.modelled, least.total))
