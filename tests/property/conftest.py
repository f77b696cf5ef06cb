"""Counting scalars: run an algorithm written as plain loops and get the number of operations of each kind it did."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from counted_float import CountedFloat, FlopCountingContext

from deepspeech2.flops.operations import KINDS, OperationCount

KIND_OF = {
    "MUL": "multiply",
    "ADD": "add",
    "SUB": "add",
    "MINUS": "add",
    "DIV": "divide",
    "SQRT": "sqrt",
    "EXP": "exp",
    "EXP2": "exp",
    "EXP10": "exp",
    "LOG": "log",
    "LOG2": "log",
    "LOG10": "log",
    "TANH": "tanh",
    "COMP": "compare",
}


@dataclass
class Scalars:
    """What an algorithm under count may use; constants go through `constant`, so that none is folded away.

    Attributes:
        macs: Multiply-accumulates, noted by the loops of products.
        padding_macs: Those whose tap lies outside the input.
    """

    macs: int = 0
    padding_macs: int = 0
    _context: Any = field(default=None, repr=False)

    @staticmethod
    def constant(value: float) -> CountedFloat:
        return CountedFloat(float(value))

    @staticmethod
    def array(values: Any) -> Any:
        """An array of counting scalars."""
        return np.frompyfunc(lambda value: CountedFloat(float(value)), 1, 1)(np.asarray(values, dtype=float))

    def accumulate(self, total: Any, pairs: Sequence[tuple[Any, Any]]) -> Any:
        """Total + a * b for each pair; without a total, the first product starts it."""
        for a, b in pairs:
            product = a * b
            total = product if total is None else total + product
            self.macs += 1
        return total

    @staticmethod
    def add_up(values: Sequence[Any]) -> Any:
        total = values[0]
        for value in values[1:]:
            total = total + value
        return total

    @staticmethod
    def largest(values: Sequence[Any]) -> Any:
        found = values[0]
        for value in values[1:]:
            if value > found:
                found = value
        return found


def run_on_scalars(algorithm: Callable[..., Any], *arrays: Any, **options: Any) -> tuple[OperationCount, Any]:
    """Run `algorithm(scalars, *arrays)`, arrays turned into counting scalars.

    Returns the count (macs and padding_macs included) and the result, as it was returned.
    """
    scalars = Scalars()
    arguments = [scalars.array(array) for array in arrays]
    with FlopCountingContext() as context:
        result = algorithm(scalars, *arguments, **options)
    counts = dict.fromkeys(KINDS, 0)
    for name, amount in context.flop_counts().as_dict().items():
        if amount:
            counts[KIND_OF[str(name)]] += amount
    return OperationCount(**counts, macs=scalars.macs, padding_macs=scalars.padding_macs), result


def assert_same_count(found: OperationCount, expected: OperationCount) -> None:
    """Kind by kind, macs and padding included; what other conventions charge is left out."""
    names = (*KINDS, "macs", "padding_macs")
    assert {n: getattr(found, n) for n in names} == {n: getattr(expected, n) for n in names}


@pytest.fixture(scope="session")
def scalar_run() -> Callable[..., tuple[OperationCount, Any]]:
    return run_on_scalars


@pytest.fixture(scope="session")
def same_count() -> Callable[[OperationCount, OperationCount], None]:
    return assert_same_count


@pytest.fixture(scope="session")
def proves(scalar_run, same_count) -> Callable[..., None]:
    """proves(formula, algorithm, *arrays, equals=..., **options): same count, and the algorithm's result is right.

    `equals` is what somebody else (torch) computes, so that the loops counted are those of the function named.
    """

    def check(
        formula: OperationCount, algorithm: Callable[..., Any], *arrays: Any, equals: Any, **options: Any
    ) -> None:
        counted, result = scalar_run(algorithm, *arrays, **options)
        same_count(formula, counted)
        results = result if isinstance(result, tuple) else (result,)
        expected = equals if isinstance(equals, tuple) else (equals,)
        for ours, theirs in zip(results, expected, strict=True):
            wanted = np.asarray(theirs, dtype=float)
            np.testing.assert_allclose(np.asarray(ours, dtype=float).reshape(wanted.shape), wanted, 1e-9, 1e-9)

    return check
