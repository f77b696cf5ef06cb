"""ClosedForm: a tally whose numbers are exact expressions in named dimensions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sympy

from deepspeech2.errors import ClosedFormError, CountingError, InputError
from deepspeech2.flops.expressions import dimension, evaluate, flat_floors
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.tally import Layer, Tally, UnknownOperator

# Of the dimensions that are not looked at: enough for the kernels and strides of most programs, and cheap to count.
_SOME_SIZE = 840


@dataclass(frozen=True)
class ClosedForm:
    """What a program computes, as a formula.

    Attributes:
        tally: the layers, with expressions for numbers.
        names: the dimensions the expressions depend on.
        conditions: what else the program assumed of the sizes while it was traced, as expressions.
        derivation: how the formula was obtained: `traced` with symbolic sizes, or `interpolated`; `counted` where it is
            a count, at the sizes in `conditions` only.
        doubts: answers torch got about sizes of one, on which the expressions may rest.
        recount: counts the program at given sizes; used by `at` where a condition or a doubt is not met.
        longest_checked: of each dimension that was interpolated, the longest size at which the formula was compared
            with a count; beyond it the formula goes on as before, which a program may not do. An example as long
            as what is asked for is compared itself.
        notes: what else a reader has to know, in sentences.
        axes: which axes of the inputs the dimensions are, in words.
    """

    tally: Tally
    names: tuple[str, ...]
    conditions: tuple[sympy.Basic, ...] = ()
    derivation: str = "traced"
    doubts: tuple[sympy.Basic, ...] = field(default=(), repr=False)
    recount: Callable[[Mapping[str, int]], Tally] | None = field(default=None, repr=False, compare=False)
    longest_checked: Mapping[str, int] = field(default_factory=dict, compare=False)
    notes: tuple[str, ...] = ()
    axes: str = field(default="", compare=False)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The tree of layers, with expressions."""
        return self.tally.layers

    @property
    def flops(self) -> Number:
        """Floating-point operations, as an expression."""
        return _tidy(self.tally.flops)

    @property
    def macs(self) -> Number:
        """Multiply-accumulates, as an expression."""
        return _tidy(self.tally.macs)

    @property
    def padding_macs(self) -> Number:
        """Multiply-accumulates with padding zeros, as an expression."""
        return _tidy(self.tally.padding_macs)

    @property
    def kinds(self) -> dict[str, Number]:
        """Each kind of operation, as an expression."""
        return {name: _tidy(amount) for name, amount in self.tally.kinds.items()}

    @property
    def complete(self) -> bool:
        """Whether every operator was counted; otherwise the formula is a lower bound."""
        return self.tally.complete

    @property
    def unknown(self) -> tuple[UnknownOperator, ...]:
        """Operators that could not be counted."""
        return self.tally.unknown

    def total(self, convention: str = "standard") -> Number:
        """The headline of a convention, as an expression."""
        return _tidy(self.tally.total(convention))

    def at(self, convention: str = "standard", /, **sizes: int) -> int:
        """The headline of a convention for given sizes, an exact integer.

        Sizes outside the conditions of a formula are counted directly; long ones of an interpolated formula, which is
        of one residue class, get the formula of their own class.

        Raises:
            ClosedFormError: a size is missing, unknown or not positive, or breaks a condition of an interpolation.

        Example:
            >>> import torch
            >>> from deepspeech2 import count
            >>> formula = count(torch.nn.Conv1d(8, 4, 5, stride=2), torch.empty(1, 8, 100), symbolic={"time": 2})
            >>> formula.at("mac", time=100_000_000)
            7999999680
        """
        sizes = self.checked(sizes)
        if self.recount is not None and not self.holds(sizes):
            return evaluate(self.recount(sizes).total(convention), sizes)
        return evaluate(self.tally.total(convention), sizes)

    def tally_at(self, **sizes: int) -> Tally:
        """The whole tally for given sizes, in integers."""
        sizes = self.checked(sizes)
        if self.recount is not None and not self.holds(sizes):
            return self.recount(sizes)
        return self.tally.map(lambda number: evaluate(number, sizes))

    def beside(self, example: OperationCount, sizes: Mapping[str, int]) -> ClosedForm:
        """The same formula, with a note where it is not what the example of these sizes costs, for its values."""
        found = self.tally_at(**sizes).count
        if example == found:
            return self
        note = (
            f"values of the inputs are no part of the formula: it gives {found.total:,} operations for sizes of the "
            f"example, whose values (masks, lengths) make it {example.total:,}"
        )
        return replace(self, notes=(*self.notes, note))

    def python(self, convention: str = "standard") -> str:
        """The formula as a Python function of integers, which refuses sizes the formula is not for.

        `remarks` are comments in it: among them that it is a lower bound, where operators are not counted.
        """
        expression = _tidy(self.tally.total(convention))
        lines = [f"def operations({', '.join(self.names)}):"]
        lines += self._comments("    # ")
        for condition in (*self.conditions, *self.least_sizes()):
            lines += [
                f"    if not ({_condition_code(condition)}):",
                f'        raise ValueError("this formula holds for {condition} only")',
            ]
        return "\n".join([*lines, f"    return {integer_code(expression)}", ""])

    def latex(self, convention: str = "standard") -> str:
        """The formula in LaTeX, below a `%` line for each of the `remarks`.

        The formula is the last line, so that what a document puts behind it is no part of a comment.
        """
        formula = str(sympy.latex(_tidy(self.tally.total(convention))))
        conditions = [str(sympy.latex(condition)) for condition in (*self.conditions, *self.least_sizes())]
        formula += r" \quad \text{for } " + r",\ ".join(conditions) if conditions else ""
        return "\n".join([*self._comments("% "), formula])

    @property
    def remarks(self) -> tuple[str, ...]:
        """Which axes the dimensions are, the notes, `longest_checked` and what is not counted, in words."""
        sizes = ", ".join(f"{name} = {size:,}" for name, size in self.longest_checked.items())
        axes = [f"{self.axes}; other sizes as in the example"] if self.axes else []
        compared = [f"interpolated; compared with counts up to {sizes}"] if sizes else []
        uncounted = ", ".join(one.operator for one in self.unknown)
        bound = [] if self.complete else [f"lower bound; not counted: {uncounted}"]
        return (*axes, *self.notes, *compared, *bound)

    def _comments(self, mark: str) -> list[str]:
        """The remarks behind a mark on every line: names from a file may hold line ends, which would end a comment."""
        return [mark + line for remark in self.remarks for line in remark.splitlines()]

    def least_sizes(self) -> tuple[sympy.Basic, ...]:
        """From which size on the formula is what counting gives, for every dimension where that is not one.

        Found by counting, the other dimensions at two (`batch`) or a few hundred, where torch's answers about sizes of
        one are doubted at all; none where no size is found.
        """
        if self.recount is None or not self.doubts:
            return ()
        found = {name: self._least_size(name) for name in self.names}
        return tuple(sympy.Ge(dimension(name), size) for name, size in found.items() if size > 1)

    def _least_size(self, name: str) -> int:
        fixed = {other: 2 if other == "batch" else _SOME_SIZE for other in self.names}
        wrong, right = 0, 1
        while not self._gives_the_count({**fixed, name: right}):
            wrong, right = right, 2 * right
            if right > _SOME_SIZE:
                return 1
        while right - wrong > 1:
            middle = (wrong + right) // 2
            if self._gives_the_count({**fixed, name: middle}):
                right = middle
            else:
                wrong = middle
        return right

    def _gives_the_count(self, sizes: Mapping[str, int]) -> bool:
        if self.recount is None or not self._holds(self.conditions, sizes):
            return False
        try:
            expected = self.recount(sizes).count
        except (CountingError, InputError):
            return False
        return expected == self.tally.count.map(lambda number: evaluate(number, sizes))

    def map(self, function: Callable[[Number], Number]) -> ClosedForm:
        """The same formula with a function applied to every number."""
        return replace(self, tally=self.tally.map(function), doubts=(), recount=None)

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether the formula itself gives the count at these sizes, which are then not counted anew."""
        return self.recount is None or self._holds([*self.conditions, *self.doubts], sizes)

    def checked(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The sizes as Python integers, or an error for those the formula is not for."""
        if set(sizes) != set(self.names):
            raise ClosedFormError(
                f"the formula needs sizes for {', '.join(self.names)}; found {', '.join(sizes) or 'none'}"
            )
        for name, size in sizes.items():
            if isinstance(size, bool) or not hasattr(size, "__index__"):
                raise ClosedFormError(f"{name} must be an integer, found {size!r}")
            if size < 1:
                raise ClosedFormError(f"{name} must be at least 1, found {size}")
        whole = {name: operator.index(size) for name, size in sizes.items()}
        for condition in self.conditions:
            if self.recount is None and not self._holds([condition], whole):
                raise ClosedFormError(
                    f"the formula assumes {condition}, which {whole} does not meet; count that size directly"
                )
        return whole

    @staticmethod
    def _holds(conditions: Sequence[sympy.Basic], sizes: Mapping[str, int]) -> bool:
        values = {dimension(name): size for name, size in sizes.items()}
        return all(condition.subs(values) != sympy.false for condition in conditions)


def _tidy(number: Number) -> Number:
    """Collected in powers of the dimensions, floors kept whole and floors of floors made one."""
    if isinstance(number, int):
        return number
    expanded = sympy.expand(flat_floors(number))
    return int(expanded) if expanded.is_Integer else expanded


def integer_code(number: Number) -> str:
    """Python source with // for floors, % for remainders, max and min; exact for integers of any size."""
    if isinstance(number, int):
        return str(number)
    for function, written in _CODES.items():
        number = number.replace(function, lambda *arguments, written=written: sympy.Symbol(written(*arguments)))
    top, bottom = sympy.fraction(sympy.together(number))
    code = str(sympy.expand(top))
    return code if bottom == 1 else f"({code}) // {bottom}"


def _condition_code(condition: sympy.Basic) -> str:
    """A condition as Python source over integers."""
    operators = {sympy.Eq: "==", sympy.Ne: "!=", sympy.Gt: ">", sympy.Ge: ">=", sympy.Lt: "<", sympy.Le: "<="}
    sign = next((text for kind, text in operators.items() if isinstance(condition, kind)), None)
    if sign is None:
        return str(condition)
    left, right = map(integer_code, condition.args)
    return f"{left} {sign} {right}"


def _floor_code(argument: sympy.Expr) -> str:
    top, bottom = sympy.fraction(sympy.together(argument))
    return f"(({integer_code(top)}) // {bottom})"


def _ceiling_code(argument: sympy.Expr) -> str:
    return f"(-{_floor_code(-argument)})"


def _extreme_code(name: str) -> Callable[..., str]:
    return lambda *arguments: f"{name}({', '.join(map(integer_code, arguments))})"


_CODES: dict[Any, Callable[..., str]] = {
    sympy.floor: _floor_code,
    sympy.ceiling: _ceiling_code,
    sympy.Mod: lambda number, divisor: f"(({integer_code(number)}) % ({integer_code(divisor)}))",
    sympy.Max: _extreme_code("max"),
    sympy.Min: _extreme_code("min"),
}
