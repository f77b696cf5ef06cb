"""ClosedForm: a tally whose numbers are exact expressions in named dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sympy

from deepspeech2.errors import ClosedFormError
from deepspeech2.flops.expressions import dimension, evaluate
from deepspeech2.flops.operations import Number
from deepspeech2.flops.tally import Layer, Tally, UnknownOperator


@dataclass(frozen=True)
class ClosedForm:
    """What a program computes, as a formula.

    Attributes:
        tally: the layers, with expressions for numbers.
        names: the dimensions the expressions depend on.
        conditions: what else the program assumed of the sizes while it was traced, as expressions.
        derivation: how the formula was obtained: `traced` with symbolic sizes, or `interpolated`.
    """

    tally: Tally
    names: tuple[str, ...]
    conditions: tuple[sympy.Basic, ...] = ()
    derivation: str = "traced"

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

        Raises:
            ClosedFormError: a size is missing, unknown, not positive, or breaks a condition of the trace.

        Example:
            >>> import torch
            >>> from deepspeech2 import count
            >>> formula = count(torch.nn.Conv1d(8, 4, 5, stride=2), torch.empty(1, 8, 100), symbolic={"time": 2})
            >>> formula.at("mac", time=100_000_000)
            7999999680
        """
        self._check(sizes)
        return evaluate(self.tally.total(convention), sizes)

    def tally_at(self, **sizes: int) -> Tally:
        """The whole tally for given sizes, in integers."""
        self._check(sizes)
        return self.tally.map(lambda number: evaluate(number, sizes))

    def python(self, convention: str = "standard") -> str:
        """The formula as a Python function of integers."""
        expression = _tidy(self.tally.total(convention))
        printed = _integer_code(expression)
        return f"def operations({', '.join(self.names)}):\n    return {printed}\n"

    def latex(self, convention: str = "standard") -> str:
        """The formula in LaTeX."""
        return str(sympy.latex(_tidy(self.tally.total(convention))))

    def map(self, function: Callable[[Number], Number]) -> ClosedForm:
        """The same formula with a function applied to every number."""
        return ClosedForm(self.tally.map(function), self.names, self.conditions, self.derivation)

    def _check(self, sizes: Mapping[str, int]) -> None:
        if set(sizes) != set(self.names):
            raise ClosedFormError(
                f"the formula needs sizes for {', '.join(self.names)}; found {', '.join(sizes) or 'none'}"
            )
        for name, size in sizes.items():
            if not isinstance(size, int) or isinstance(size, bool):
                raise ClosedFormError(f"{name} must be an integer, found {size!r}")
            if size < 1:
                raise ClosedFormError(f"{name} must be at least 1, found {size}")
        values = {dimension(name): size for name, size in sizes.items()}
        for condition in self.conditions:
            if condition.subs(values) == sympy.false:
                raise ClosedFormError(
                    f"the formula assumes {condition}, which {dict(sizes)} does not meet; count that size directly"
                )


def _tidy(number: Number) -> Number:
    """Collected in powers of the dimensions, floors kept whole."""
    if isinstance(number, int):
        return number
    expanded = sympy.expand(number)
    return int(expanded) if expanded.is_Integer else expanded


def _integer_code(number: Number) -> str:
    """Python source with // for floors, exact for integers of any size."""
    if isinstance(number, int):
        return str(number)
    denominator = sympy.together(number.replace(sympy.floor, lambda argument: sympy.Symbol(_floor_code(argument))))
    top, bottom = sympy.fraction(denominator)
    code = str(sympy.expand(top))
    return code if bottom == 1 else f"({code}) // {bottom}"


def _floor_code(argument: sympy.Expr) -> str:
    top, bottom = sympy.fraction(sympy.together(argument))
    return f"(({_integer_code(top)}) // {bottom})"
