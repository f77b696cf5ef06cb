"""Exact expressions in symbolic dimensions: from torch's symbolic sizes, from text, and back to integers."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import sympy
import torch
from torch.utils._sympy.functions import CeilToInt, CleanDiv, FloorDiv, Max, Min, Mod, PythonMod

from deepspeech2.errors import ClosedFormError, InputError
from deepspeech2.flops.operations import Number


def dimension(name: str) -> sympy.Symbol:
    """The symbol of a dimension: a positive integer."""
    return sympy.Symbol(name, integer=True, positive=True)


class SizeReader:
    """Turns torch's sizes into exact numbers, naming its anonymous symbols."""

    def __init__(self, names: Mapping[sympy.Symbol, sympy.Symbol] | None = None) -> None:
        """Args: names: torch's symbols and the dimensions they stand for."""
        self.names = dict(names or {})
        self._known: dict[Any, Number] = {}

    def __call__(self, size: int | torch.SymInt) -> Number:
        """An integer for a known size, an expression for a symbolic one."""
        if type(size) is int:
            return size
        if not isinstance(size, torch.SymInt):
            return int(size)
        expression = size.node.expr
        if expression not in self._known:
            self._known[expression] = self._translate(expression)
        return self._known[expression]

    def _translate(self, expression: sympy.Expr) -> Number:
        plain = plain_sympy(expression).xreplace(self.names)
        return int(plain) if plain.is_Integer else plain


def plain_sympy(expression: sympy.Expr) -> sympy.Expr:
    """Torch's own functions (floor division, modulus, extremes) as those of sympy."""
    translations: list[tuple[Any, Callable[..., Any]]] = [
        (FloorDiv, lambda a, b: sympy.floor(a / b)),
        (CleanDiv, lambda a, b: a / b),
        (CeilToInt, sympy.ceiling),
        (Mod, sympy.Mod),
        (PythonMod, sympy.Mod),
        (Max, sympy.Max),
        (Min, sympy.Min),
    ]
    for function, translation in translations:
        if expression.has(function):
            expression = expression.replace(function, translation)
    return expression


def flat_floors(expression: sympy.Expr) -> sympy.Expr:
    """One floor where strides follow each other: floor((floor(x) + k) / n) is floor((x + k) / n) for integers k, n."""

    def flatten(argument: sympy.Expr) -> sympy.Expr:
        whole = sympy.expand(argument)
        inner = [floor for floor in whole.atoms(sympy.floor) if _is_part(whole.coeff(floor))]
        if len(inner) != 1:
            return sympy.floor(argument)
        rest = sympy.expand(whole - whole.coeff(inner[0]) * inner[0])
        if rest.has(sympy.floor) or not (rest / whole.coeff(inner[0])).is_integer:
            return sympy.floor(argument)
        return sympy.floor(sympy.expand(rest + whole.coeff(inner[0]) * inner[0].args[0]))

    return expression.replace(sympy.floor, flatten) if expression.has(sympy.floor) else expression


def _is_part(coefficient: sympy.Expr) -> bool:
    """Whether it is one over an integer."""
    return bool(coefficient.is_Rational and coefficient.p == 1)


def evaluate(number: Number, values: Mapping[str, int]) -> int:
    """The integer an expression takes for the given dimensions.

    Raises:
        ClosedFormError: a dimension is missing, or the result is not an integer.
    """
    if isinstance(number, int):
        return number
    free = {symbol.name for symbol in number.free_symbols}
    missing = sorted(free - set(values))
    if missing:
        raise ClosedFormError(f"the formula also depends on {', '.join(missing)}; give a value for each")
    result = number.subs({dimension(name): value for name, value in values.items()})
    if not result.is_Integer:
        raise ClosedFormError(f"the formula gives {result} at {dict(values)}, not an integer")
    return int(result)


_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS = {"floor": sympy.floor, "ceiling": sympy.ceiling, "Max": sympy.Max, "Min": sympy.Min, "Mod": sympy.Mod}


def parse_expression(text: str) -> Number:
    """Read back an expression that was printed; only arithmetic, floors and extremes of dimension names.

    Raises:
        InputError: the text is anything else.
    """
    try:
        result = _build(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError, KeyError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"expected an arithmetic expression in dimension names, found {text[:60]!r}") from error
    if isinstance(result, int) or result.is_Integer:
        return int(result)
    if not result.free_symbols:
        raise InputError(f"expected an integer or an expression in dimension names, found {text[:60]!r}")
    return result


def _build(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return sympy.Integer(node.value)
    if isinstance(node, ast.Name):
        return dimension(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_build(node.operand)
    if isinstance(node, ast.BinOp):
        left, right = _build(node.left), _build(node.right)
        if isinstance(node.op, ast.Pow) and not (right.is_Integer and 0 <= int(right) <= 16):
            raise ValueError("exponent")
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _FUNCTIONS[node.func.id](*[_build(argument) for argument in node.args])
    raise ValueError(type(node).__name__)
