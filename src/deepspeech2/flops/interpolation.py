"""Closed formulas of programs that loop over a dimension in Python: exact interpolation, verified.

A loop hides its length from symbolic tracing, but the counts at a few lengths determine the formula all the same: with
strides, windows and chunks they are polynomials in the length on each residue class of some period. The polynomial of
the example's class is found from three lengths and must predict others, nearby and far away; where few counts
suffice, the other classes follow, and one formula holds for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sympy

from deepspeech2.errors import ClosedFormError, InputError
from deepspeech2.flops.closed_form import ClosedForm
from deepspeech2.flops.dimensions import SymbolicInputs
from deepspeech2.flops.expressions import dimension, evaluate
from deepspeech2.flops.operations import OperationCount
from deepspeech2.flops.piece_sizes import PieceSizes
from deepspeech2.flops.residue_classes import Parabola, all_classes, degree_in
from deepspeech2.flops.tally import Tally

_PERIODS = (1, 2, 3, 4, 6, 12)
# Below this length windows reach over both ends of the input and the count is not yet regular.
_START = 24
# Examples up to this length are counted themselves, as a last check.
_LONGEST_CHECK = 2048
# Up to here a length the formula is not for is counted, not interpolated.
_LONGEST_DIRECT = 256
# All classes are found where that takes so many counts and operator calls at most.
_MOST_COUNTS, _MOST_CALLS = 80, 20_000
# The longest check of all takes so many operator calls at most, about a second.
_CALLS_FAR_AWAY = 2_000

CountAt = Callable[[Mapping[str, int]], Tally]


@dataclass
class _Search:
    """One program's counts at lengths of one dimension, the others symbols; each counted once.

    Attributes:
        count_at: counts with the given dimensions fixed.
        dimensions: all symbolic dimensions and the sizes of the example.
        name: the dimension.
        rest: other dimensions the program loops over, interpolated at every length.
        start: lengths are at least about this, unless the example is shorter.
        pieces: what the program cut its tensors into when it was counted, which suggests periods.
        conditions: what formulas in the other dimensions rest on.
        problem: the first error at a length the program does not take.
    """

    count_at: CountAt
    dimensions: SymbolicInputs
    name: str
    rest: Sequence[str]
    start: int
    pieces: PieceSizes
    conditions: dict[sympy.Basic, None] = field(default_factory=dict)
    problem: Exception | None = None
    _known: dict[int, Tally] = field(default_factory=dict)
    _whole: dict[int, OperationCount] = field(default_factory=dict)
    _calls: dict[int, int] = field(default_factory=dict)

    def whole_at(self, length: int) -> OperationCount:
        """The count at a length, other dimensions about as in the example."""
        if length not in self._whole:
            # Of another dimension that is looped over, a few are enough.
            few = {name: min(self.dimensions.sizes[name], self.start) for name in self.rest}
            tally = self.count_at({**self.dimensions.sizes, **few, self.name: length})
            self._whole[length] = tally.count
            self._calls[length] = sum(layer.calls for _, layer in tally.walk())
        return self._whole[length]

    def at(self, length: int) -> Tally:
        """The tally at a length, other dimensions as symbols."""
        if length not in self._known:
            if self.rest:
                inner = interpolate(
                    lambda sizes: self.count_at({self.name: length, **sizes}),
                    self.dimensions.without([self.name]),
                    self.rest,
                    start=self.start,
                    pieces=self.pieces,
                )
                self.conditions.update(dict.fromkeys(inner.conditions))
                self._known[length] = inner.tally
            else:
                self._known[length] = self.count_at({self.name: length})
        return self._known[length]

    @property
    def counted(self) -> bool:
        """Whether the program ran at any length."""
        return bool(self._whole)

    @property
    def size(self) -> int:
        """The example's length."""
        return self.dimensions.sizes[self.name]

    def calls_at(self, length: int) -> int:
        """How many operators run at a length, other dimensions about as in the example."""
        self.whole_at(length)
        return self._calls[length]

    def periods(self) -> Iterator[tuple[int, int]]:
        """Periods to try, each with the length to start at; those suggested again where windows of several fit."""
        seen = set(_PERIODS)
        yield from ((period, self.start) for period in _PERIODS)
        suggested = [period for period in self.pieces.periods() if period not in seen]
        yield from ((period, self.start) for period in suggested)
        beyond = 3 * self.pieces.longest
        if self.start < beyond <= self.size:
            yield from ((period, beyond) for period in (*_PERIODS, *suggested))


def interpolate(
    count_at: CountAt,
    dimensions: SymbolicInputs,
    loops: Sequence[str],
    *,
    start: int = _START,
    pieces: PieceSizes | None = None,
) -> ClosedForm:
    """Find the formula in looped dimensions from counts at short lengths; other dimensions stay symbols.

    Where the formula is that of one residue class, `at` finds those of other classes when they are asked for.

    Args:
        count_at: counts with the given dimensions fixed; the others are symbols in the result.
        dimensions: all symbolic dimensions and the sizes of the example.
        loops: the dimensions the program loops over; one is taken after the other.
        start: lengths are at least about this, unless the example is shorter.
        pieces: follows the counts; the sizes it finds are tried as periods beside the usual ones.

    Raises:
        ClosedFormError: no period gives a quadratic polynomial that predicts the counts at other lengths.
    """
    name, *rest = sorted(loops, key=lambda loop: (loop == "batch", loop))
    search = _Search(count_at, dimensions, name, rest, start, pieces or PieceSizes())
    tried: dict[int, None] = {}
    for period, begin in search.periods():
        tried[period] = None
        try:
            found = _on_class(search, period, _first_length(name, search.size, period, begin))
        except ValueError as error:
            # Other operators at other lengths, which another period may avoid.
            search.problem = search.problem or error
            continue
        if found is not None:
            return _with_other_classes(found, search, loops, (period, begin))
    if isinstance(search.problem, InputError) and not search.counted:
        raise search.problem
    what = f" (at different sizes the program does different things: {search.problem})" if search.problem else ""
    raise ClosedFormError(
        f"the count is no closed formula in {', '.join(dimensions.names)}: it is not a quasi-polynomial in {name}, no "
        "quadratic on the residue classes of "
        f"{', '.join(map(str, tried))} predicts the counts at other lengths{what}"
    )


def _on_class(search: _Search, period: int, first: int) -> ClosedForm | None:
    """The formula on the residue class of `first`, or None where it does not predict the counts at other lengths.

    Raises:
        ValueError: the program has other operators at other lengths.
    """
    if not _regular(search, period, first):
        return None
    # What is regular with a period may be so with a part of it, from the same length on.
    parts = [part for part in range(1, period) if period % part == 0]
    period = next((part for part in parts if _regular(search, part, first)), period)
    name, lengths = search.name, [first + step * period for step in range(3)]
    tally = search.at(lengths[0]).combine([search.at(length) for length in lengths[1:]], Parabola(name, lengths))
    if not all(_verified(search, tally, first + steps * period) for steps in (3, 9)):
        return None
    formula = ClosedForm(tally, search.dimensions.names, _domain(name, first, period), "interpolated")
    whole = _on_all_classes(search, tally, period, first) if period > 1 else None
    if whole is not None:
        formula = replace(formula, tally=whole, conditions=_domain(name, first, 1))
    return replace(formula, conditions=tuple(dict.fromkeys([*formula.conditions, *search.conditions])))


def _regular(search: _Search, period: int, first: int) -> bool:
    """Whether integer counts on a residue class are a quadratic polynomial, nearby and far away."""
    try:
        return _is_quadratic(search, period, first)
    except InputError as error:
        # Lengths the program does not take, which another period may avoid.
        search.problem = search.problem or error
        return False


def _is_quadratic(search: _Search, period: int, first: int) -> bool:
    low, middle, high = (search.whole_at(first + step * period) for step in range(3))

    def predicted(step: int) -> OperationCount:
        return OperationCount(
            *[
                a + step * (b - a) + step * (step - 1) // 2 * (c - 2 * b + a)
                for a, b, c in zip(low, middle, high, strict=True)
            ]
        )

    steps = [3, 5, 8, *_far_steps(search, period, first)]
    return all(search.whole_at(first + step * period) == predicted(step) for step in steps)


def _on_all_classes(search: _Search, tally: Tally, period: int, first: int) -> Tally | None:
    """The formula of all residue classes, where few and cheap counts give it; each is of the degree of the first."""
    others = [name for name in search.dimensions.names if name != search.name]
    degrees = {name: degree_in(tally, name) for name in search.dimensions.names}
    counts = period
    for degree in degrees.values():
        counts *= degree + 1
    calls = search.calls_at(first)
    if search.rest or counts > _MOST_COUNTS or counts * calls > _MOST_CALLS:
        return None

    def at(length: int) -> Tally:
        return in_others({search.name: length}, others)

    def in_others(sizes: dict[str, int], names: Sequence[str]) -> Tally:
        if not names:
            return search.count_at(sizes)
        # Sizes above one, which would be repeated to fit others.
        lowest = 2 if names[0] == "batch" else search.dimensions.sizes[names[0]]
        values = [lowest + more for more in range(degrees[names[0]] + 1)]
        tallies = [in_others({**sizes, names[0]: value}, names[1:]) for value in values]
        return tallies[0].combine(tallies[1:], Parabola(names[0], values))

    found = all_classes(at, search.name, first, period, degrees[search.name])
    held_out = (1, 4 * period - 1, 4 * period + period // 2)
    if found is None or not all(_verified(search, found, first + steps) for steps in held_out):
        return None
    return found


def _far_steps(search: _Search, period: int, first: int) -> list[int]:
    """Periods from the first length to those of the last checks: past every window, at the example, and far away.

    What the program does at lengths that it compares with a number of its own shows only beyond that number.
    """
    steps = [9, 9 + 3 * first // period]
    reach = min(3 * search.pieces.longest, _LONGEST_CHECK)
    steps.append(-(-(reach - first) // period))
    far = min(_LONGEST_CHECK, _CALLS_FAR_AWAY * first // max(1, search.calls_at(first)))
    steps.append((far - first) // period)
    if search.size <= _LONGEST_CHECK:
        steps.append((search.size - first) // period)
    return sorted({step for step in steps if step > 8})


def _first_length(name: str, size: int, period: int, start: int) -> int:
    """The shortest length to count at: in the residue class of the example's, and one for a batch."""
    if name == "batch":
        return 1
    return size if size < start else start + (size - start) % period


def _verified(search: _Search, tally: Tally, length: int) -> bool:
    """Whether a formula gives an integer count at a held-out length and a batch of one."""
    sizes = {name: 1 if name == "batch" else size for name, size in search.dimensions.sizes.items()}
    sizes[search.name] = length
    expected = search.count_at(sizes)
    try:
        return tally.count.map(lambda number: evaluate(number, sizes)) == expected.count
    except ClosedFormError:
        return False


def _domain(name: str, start: int, period: int) -> tuple[sympy.Basic, ...]:
    symbol = dimension(name)
    domain: list[sympy.Basic] = [sympy.Ge(symbol, start)] if start > 1 else []
    if period > 1:
        domain.append(sympy.Eq(sympy.Mod(symbol, period), start % period))
    return tuple(domain)


def _with_other_classes(
    formula: ClosedForm, search: _Search, loops: Sequence[str], regular: tuple[int, int]
) -> ClosedForm:
    """The same formula; sizes it is not for are counted, or get the formula of their own class.

    Args:
        formula: of the example's class.
        search: how it was found.
        loops: the dimensions the program loops over.
        regular: the period with which it was found, and the length from which on it is regular.
    """
    others: list[ClosedForm] = []

    def recount(sizes: Mapping[str, int]) -> Tally:
        longest = max(sizes[name] for name in loops)
        if longest < _LONGEST_DIRECT:
            return search.count_at(sizes)
        known = next((one for one in others if replace(one, recount=_no_count).holds(sizes)), None)
        if known is None:
            dimensions = replace(search.dimensions, sizes=dict(sizes))
            own = _Search(search.count_at, dimensions, search.name, search.rest, search.start, search.pieces)
            period, begin = regular
            known = _on_class(own, period, _first_length(own.name, own.size, period, begin))
            if known is None:
                known = interpolate(search.count_at, dimensions, loops, start=search.start, pieces=search.pieces)
            others.append(known)
        return known.tally.map(lambda number: evaluate(number, sizes))

    return replace(formula, recount=recount)


def _no_count(_: Mapping[str, int]) -> Tally:
    raise InputError("not counted")
