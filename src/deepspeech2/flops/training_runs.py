"""The cost of a whole training: one closed formula of a step, summed over all steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy

from deepspeech2.errors import ClosedFormError
from deepspeech2.flops.closed_form import ClosedForm, integer_code
from deepspeech2.flops.conventions import headline
from deepspeech2.flops.expressions import dimension, evaluate
from deepspeech2.flops.operations import NOTHING, Number, OperationCount, total_of
from deepspeech2.flops.tally import Tally

# Where a form of two dimensions is found, and where it must hold besides.
_CORNERS = ((2, 3), (40, 41))
_HELD_OUT = ((1, 90), (5, 77))


@dataclass(frozen=True)
class TrainingRun:
    """What a training computes, all steps together.

    Attributes:
        steps: updates of the weights.
        phases: operations of all forward passes, backward passes and optimiser steps.
        complete: whether every operator was counted; otherwise a lower bound.
    """

    steps: int
    phases: Mapping[str, OperationCount] = field(default_factory=dict)
    complete: bool = True

    @property
    def count(self) -> OperationCount:
        """All operations of all kinds."""
        return total_of(self.phases.values())

    @property
    def flops(self) -> Number:
        """Floating-point operations."""
        return self.count.total

    @property
    def macs(self) -> Number:
        """Multiply-accumulates."""
        return self.count.macs

    def total(self, convention: str = "standard") -> Number:
        """The headline of a convention."""
        return headline(self.count, convention)

    def __add__(self, other: TrainingRun) -> TrainingRun:
        """Two trainings one after the other."""
        names = dict.fromkeys([*self.phases, *other.phases])
        phases = {name: self.phases.get(name, NOTHING) + other.phases.get(name, NOTHING) for name in names}
        return TrainingRun(self.steps + other.steps, phases, self.complete and other.complete)


def sum_steps(step: ClosedForm, sizes: Iterable[Mapping[str, int]]) -> TrainingRun:
    """Sum the formula of one step over the sizes of every step.

    Args:
        step: the formula of a training step, from `count_training(..., symbolic=...)`.
        sizes: for each step, a size for every dimension of the formula.

    Raises:
        ClosedFormError: a size is missing, or outside what the formula holds for.

    Example:
        >>> import torch
        >>> from deepspeech2 import count_training, sum_steps
        >>> step = count_training(torch.nn.Linear(10, 3), torch.empty(2, 10), symbolic={"batch": 0})
        >>> run = sum_steps(step, [{"batch": 32}] * 9 + [{"batch": 12}])
        >>> run.steps, run.macs
        (10, 18000)
    """
    repeats = Counter(tuple(sorted(one.items())) for one in sizes)
    names = dict.fromkeys(layer.phase for _, layer in step.tally.walk())
    formulas = {name: [_compiled(number, step.names) for number in step.tally.phase(name)] for name in names}
    phases = dict.fromkeys(formulas, NOTHING)
    for pairs, times in repeats.items():
        values = step.checked(dict(pairs))
        if not step.holds(values):
            found = step.tally_at(**values)
            counts = {name: found.phase(name) for name in names}
        else:
            counts = {name: OperationCount(*[one(values) for one in each]) for name, each in formulas.items()}
        phases = {name: phases[name] + count * times for name, count in counts.items()}
    return TrainingRun(sum(repeats.values()), phases, step.complete)


def _compiled(number: Number, names: Sequence[str]) -> Callable[[Mapping[str, int]], int]:
    """The formula as a function of integers, exact as `evaluate` and some thousand times faster."""
    if isinstance(number, int):
        return lambda _: number
    code = compile(integer_code(sympy.expand(number)), "<formula>", "eval")
    scope = {"__builtins__": {}, "max": max, "min": min}

    def function(values: Mapping[str, int]) -> int:
        return int(eval(code, scope, {name: values[name] for name in names}))

    return function


def bilinear_form(count_at: Callable[[int, int], Tally], names: tuple[str, str]) -> ClosedForm:
    """The formula of a count that is linear in each of two dimensions, from four counts and checked at two others.

    Args:
        count_at: counts at a size of each dimension.
        names: the two dimensions.

    Raises:
        ClosedFormError: the count is not linear in each of them.
    """
    (low, high), (short, long) = _CORNERS
    tallies = [count_at(first, second) for first in (low, high) for second in (short, long)]
    first, second = dimension(names[0]) - low, dimension(names[1]) - short

    def plane(values: Sequence[Number]) -> Number:
        start, along, across, both = values
        bend = both - across - along + start
        found = sympy.expand(start + (along - start) * second + (across - start) * first + bend * first * second)
        return int(found) if found.is_Integer else found

    tally = tallies[0].combine(tallies[1:], plane)
    for sizes in _HELD_OUT:
        expected = count_at(*sizes)
        values = dict(zip(names, sizes, strict=True))
        found = tally.map(lambda number, values=values: evaluate(number, values))  # type: ignore[misc]
        if found.count != expected.count:
            raise ClosedFormError(
                f"a step is not linear in {names[0]} and {names[1]}: at {values} the formula gives {found.flops} "
                f"operations and counting gives {expected.flops}"
            )
    return ClosedForm(tally, names, derivation="interpolated")


def hours_at(run: TrainingRun, teraflops: float) -> float:
    """Hours at a sustained rate in TFLOP/s, by the `gemm` convention that rates of devices are quoted in."""
    gemm: Any = run.total("gemm")
    return float(gemm) / (teraflops * 1e12) / 3600
