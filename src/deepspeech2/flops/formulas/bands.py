"""Band: pairs of positions whose distance lies between two bounds, as causal and sliding masks allow them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deepspeech2.flops.operations import Number, at_least_zero


@dataclass(frozen=True, slots=True)
class Band:
    """Pairs (i, j) of two axes with `low <= i - j <= high`.

    Attributes:
        row: axis of i, counted from the last one: -2 in a mask of queries and keys.
        column: axis of j, to the right of it.
        low: least difference; None for no bound.
        high: greatest difference; None for no bound.
    """

    row: int
    column: int
    low: Number | None = None
    high: Number | None = None

    def complement(self) -> Band | None:
        """All other pairs, where these are a band."""
        if self.low is None and self.high is not None:
            return replace(self, low=self.high + 1, high=None)
        if self.high is None and self.low is not None:
            return replace(self, low=None, high=self.low - 1)
        return None

    def intersection(self, other: Band) -> Band | None:
        """Pairs in both, where they are bands of the same axes."""
        if (self.row, self.column) != (other.row, other.column):
            return None
        return replace(self, low=_both(self.low, other.low, largest), high=_both(self.high, other.high, smallest))

    def pairs(self, rows: Number, columns: Number) -> Number:
        """How many pairs there are with 0 <= i < rows and 0 <= j < columns."""
        if self._empty:
            return 0
        count = rows * columns if self.low is None else _behind(-self.low, rows, columns)
        if self.high is None:
            return count
        count = count - _behind(-self.high - 1, rows, columns)
        # Bounds that are expressions may cross at some sizes.
        ordered = self.low is None or isinstance(self.high - self.low, int)
        return count if ordered else at_least_zero(count)

    def rows(self, rows: Number, columns: Number) -> Number:
        """How many rows hold a pair: low <= i and i - high < columns."""
        first = 0 if self.low is None else at_least_zero(self.low)
        end = rows if self.high is None else smallest(rows, columns + self.high)
        return 0 if self._empty else at_least_zero(end - first)

    def columns(self, rows: Number, columns: Number) -> Number:
        """How many columns hold a pair: -high <= j and j + low < rows."""
        first = 0 if self.high is None else at_least_zero(-self.high)
        end = columns if self.low is None else smallest(columns, rows - self.low)
        return 0 if self._empty else at_least_zero(end - first)

    @property
    def _empty(self) -> bool:
        return self.low is not None and self.high is not None and bool(self.low > self.high)


def _behind(ahead: Number, rows: Number, columns: Number) -> Number:
    """Pairs with j <= i + ahead: the triangle up to the last row, less those before the first and behind the edge."""
    last = rows + ahead
    return _triangle(last) - _triangle(ahead) - _triangle(last - columns) + _triangle(ahead - columns)


def _triangle(size: Number) -> Number:
    """1 + 2 + ... + size, nothing for a negative size."""
    size = at_least_zero(size)
    return size * (size + 1) // 2 if isinstance(size, int) else size * (size + 1) / 2


def _both(first: Number | None, second: Number | None, choose: object) -> Number | None:
    if first is None or second is None:
        return second if first is None else first
    result: Number = choose(first, second)  # type: ignore[operator]
    return result


def smallest(first: Number, second: Number) -> Number:
    """The smaller one, for integers and expressions."""
    if isinstance(first, int) and isinstance(second, int):
        return min(first, second)
    from sympy import Min

    return Min(first, second)


def largest(first: Number, second: Number) -> Number:
    """The larger one, for integers and expressions."""
    if isinstance(first, int) and isinstance(second, int):
        return max(first, second)
    from sympy import Max

    return Max(first, second)
