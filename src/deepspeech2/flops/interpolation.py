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
from deepspeech2.flops.leftovers import caches_emptied
from deepspeech2.flops.operations import OperationCount
from deepspeech2.flops.piece_sizes import PieceSizes
from deepspeech2.flops.residue_classes import Parabola, all_classes, degree_in
from deepspeech2.flops.tally import Tally

_PERIODS = (1, 2, 3, 4, 6, 12)
# Below this length windows reach over both ends of the input and the count is not yet regular.
_START = 24
# Pieces up to a third of this length are passed by the checks.
_LONGEST_REACH = 2048
# Up to here a length the formula is not for is counted, not interpolated.
_LONGEST_DIRECT = 256
# All classes are found where that takes so many counts and operator calls at most.
_MOST_COUNTS, _MOST_CALLS = 80, 20_000
# A call takes one to five thousandths of a second. The check far away takes so many, at no more than so many steps.
_CALLS_FAR_AWAY, _FARTHEST = 2_000, 10_000
# The example is counted itself, as the last check, where that takes so many calls at most.
_CALLS_AT_EXAMPLE = 6_000
# Once short lengths were regular and long ones were not, the search goes on for so many calls.
_CALLS_AFTER_LIMIT = 6_000

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
        limit: a length up to which a formula held, and the next one tried, at which it did not; None without.
        longest_checked: what formulas in the other dimensions were compared with counts up to.
    """

    count_at: CountAt
    dimensions: SymbolicInputs
    name: str
    rest: Sequence[str]
    start: int
    pieces: PieceSizes
    conditions: dict[sympy.Basic, None] = field(default_factory=dict)
    problem: Exception | None = None
    limit: tuple[int, int] | None = None
    longest_checked: dict[str, int] = field(default_factory=dict)
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
                for name, longest in inner.longest_checked.items():
                    self.longest_checked[name] = min(longest, self.longest_checked.get(name, longest))
                self._known[length] = inner.tally
            else:
                self._known[length] = self.count_at({self.name: length})
        return self._known[length]

    @property
    def calls(self) -> int:
        """Operators that all counts took together."""
        return sum(self._calls.values())

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
        suggested = [(period, self.start) for period in self.pieces.periods() if period not in seen]
        # Past every window over either end; or, in an example that is no longer, just past the longest piece.
        begins = [3 * self.pieces.longest, self.pieces.longest + self.start]
        every = (*_PERIODS, *(period for period, _ in suggested))
        later = [(period, begin) for begin in begins if self.start < begin <= self.size for period in every]
        yield from (*suggested, *later) if self.limit is None else (*later, *suggested)


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

    What a program does only beyond some length of its own, as attention with a limited context, shows where a count
    reaches that far: at the example, unless that takes too many operators, and at lengths that take few. The formula
    says how far it was checked.

    Raises:
        ClosedFormError: no period gives a quadratic polynomial that predicts the counts at other lengths.
    """
    name, *rest = sorted(loops, key=lambda loop: (loop == "batch", loop))
    search = _Search(count_at, dimensions, name, rest, start, pieces or PieceSizes())
    tried: dict[int, None] = {}
    for period, begin in search.periods():
        if search.limit is not None and search.calls > _CALLS_AFTER_LIMIT:
            break
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
    if search.limit is not None:
        what += (
            f"; a formula for {name} up to {search.limit[0]:,} does not hold at {search.limit[1]:,}: where the program "
            "has a limit of its own, such as a longest context, give an example well beyond it"
        )
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
    checked = {**search.longest_checked, name: _lengths(search, period, first)[-1]}
    formula = ClosedForm(
        tally, search.dimensions.names, _domain(name, first, period), "interpolated", longest_checked=checked
    )
    whole = _on_all_classes(search, tally, period, first) if period > 1 else None
    if whole is not None:
        formula = replace(formula, tally=whole, conditions=_domain(name, first, 1))
    return replace(formula, conditions=tuple(dict.fromkeys([*formula.conditions, *search.conditions])))


def _regular(search: _Search, period: int, first: int) -> bool:
    """Whether integer counts on a residue class are a quadratic polynomial, nearby and far away.

    A period so long that its lengths take too many operators is none.
    """
    try:
        if search.calls_at(first) * (first + 8 * period) > _MOST_CALLS * first:
            return False
        before = first
        for length in _lengths(search, period, first):
            if not _on_parabola(search, period, first, length):
                if before > first + 8 * period:
                    search.limit = search.limit or (before, length)
                return False
            before = length
    except InputError as error:
        # Lengths the program does not take, which another period may avoid.
        search.problem = search.problem or error
        return False
    return True


def _on_parabola(search: _Search, period: int, first: int, length: int) -> bool:
    low, middle, high = (search.whole_at(first + step * period) for step in range(3))
    step = (length - first) // period
    predicted = [
        a + step * (b - a) + step * (step - 1) // 2 * (c - 2 * b + a) for a, b, c in zip(low, middle, high, strict=True)
    ]
    return search.whole_at(length) == OperationCount(*predicted)


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


def _lengths(search: _Search, period: int, first: int) -> list[int]:
    """The lengths that are checked, in their order: near the first, past every window, far away, and the example's.

    What the program does at lengths that it compares with a number of its own shows only beyond that number.
    """
    steps = {9, 9 + 3 * first // period}
    reach = min(3 * search.pieces.longest, _LONGEST_REACH)
    steps.add(-(-(reach - first) // period))
    calls = max(1, search.calls_at(first))
    steps.add((min(_FARTHEST, _CALLS_FAR_AWAY * first // calls) - first) // period)
    if calls * search.size <= _CALLS_AT_EXAMPLE * first:
        steps.add((search.size - first) // period)
    return [first + period * step for step in (3, 5, 8, *sorted(step for step in steps if step > 8))]


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

    @caches_emptied()
    def recount(sizes: Mapping[str, int]) -> Tally:
        longest = max(sizes[name] for name in loops)
        if longest < _LONGEST_DIRECT:
            return search.count_at(sizes)
        known = next((one for one in others if _is_for(one, sizes, search.name)), None)
        if known is None:
            known = _of_its_own(search, sizes, loops, regular)
            others.append(known)
        return known.tally.map(lambda number: evaluate(number, sizes))

    return replace(formula, recount=recount)


def _is_for(formula: ClosedForm, sizes: Mapping[str, int], name: str) -> bool:
    """Whether a formula that was found for other sizes gives these; it is not followed beyond where it was checked."""
    within = sizes[name] <= formula.longest_checked.get(name, 0)
    return within and replace(formula, recount=_no_count).holds(sizes)


def _of_its_own(
    search: _Search, sizes: Mapping[str, int], loops: Sequence[str], regular: tuple[int, int]
) -> ClosedForm:
    """The formula of the residue class of these sizes; where there is none, their count."""
    dimensions = replace(search.dimensions, sizes=dict(sizes))
    own = _Search(search.count_at, dimensions, search.name, search.rest, search.start, search.pieces)
    period, begin = regular
    found = _on_class(own, period, _first_length(own.name, own.size, period, begin))
    try:
        return found or interpolate(search.count_at, dimensions, loops, start=search.start, pieces=search.pieces)
    except ClosedFormError:
        only = tuple(sympy.Eq(dimension(name), size) for name, size in sizes.items())
        return ClosedForm(search.count_at(sizes), search.dimensions.names, only, "counted", longest_checked=dict(sizes))


def _no_count(_: Mapping[str, int]) -> Tally:
    raise InputError("not counted")
