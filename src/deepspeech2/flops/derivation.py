"""How a closed formula is found: by tracing with symbolic sizes, or by exact interpolation, and always verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import sympy

from deepspeech2.errors import ClosedFormError
from deepspeech2.flops.closed_form import ClosedForm
from deepspeech2.flops.dimensions import SymbolicInputs
from deepspeech2.flops.expressions import evaluate, plain_sympy
from deepspeech2.flops.tally import Tally
from deepspeech2.flops.tracer import FakeWorld

Counter = Callable[[FakeWorld, tuple[Any, ...], Mapping[str, Any]], Tally]


def derive(count: Counter, args: tuple[Any, ...], kwargs: Mapping[str, Any], dimensions: SymbolicInputs) -> ClosedForm:
    """Find the closed formula and check it against integer counts at sizes it was not derived from.

    Args:
        count: counts the program on given inputs in a given world.
        args: positional example inputs.
        kwargs: keyword example inputs.
        dimensions: which axes are symbols.

    Raises:
        ClosedFormError: the count is not a formula in these dimensions, or the check fails.
    """
    formula = _traced(count, args, kwargs, dimensions)
    _verify(count, args, kwargs, dimensions, formula)
    return formula


def _hints(dimensions: SymbolicInputs) -> dict[str, int]:
    """Sizes to trace with: the example's, but above one (a size of one broadcasts) and all different."""
    hints: dict[str, int] = {}
    for name, size in dimensions.sizes.items():
        hint = max(size, 2)
        while hint in hints.values():
            hint += 1
        hints[name] = hint
    return hints


def _traced(count: Counter, args: tuple[Any, ...], kwargs: Mapping[str, Any], dimensions: SymbolicInputs) -> ClosedForm:
    world = FakeWorld.create(symbolic=True)
    hints = _hints(dimensions)

    def symbolic(key: int | str, value: Any) -> Any:
        axes = dimensions.axes.get(key)
        return (
            world.symbolic_input(value, {axis: (name, hints[name]) for axis, name in axes.items()}) if axes else value
        )

    symbolic_args = tuple(symbolic(position, value) for position, value in enumerate(args))
    symbolic_kwargs = {name: symbolic(name, value) for name, value in kwargs.items()}
    tally = count(world, symbolic_args, symbolic_kwargs)
    fixed = world.fixed_symbols()
    if fixed:
        name, value = next(iter(fixed.items()))
        raise ClosedFormError(f"the program fixes {name} to {value}: it is not a free dimension of this program")
    conditions = _conditions(world)
    return ClosedForm(tally, dimensions.names, conditions)


def _conditions(world: FakeWorld) -> tuple[sympy.Basic, ...]:
    """What the program asked about sizes, answered for the hints.

    Whether a size is one (broadcasting, memory layout) changes no count; those questions are left out, and the check
    at held-out sizes, a batch of one among them, stands behind that.
    """
    if world.shapes is None:
        return ()
    found = []
    for guard in world.shapes.guards:
        condition = plain_sympy(guard.expr).xreplace(world.read_size.names)
        named = all(symbol in world.read_size.names.values() for symbol in condition.free_symbols)
        if named and condition not in (sympy.true, sympy.false) and not _about_one(condition):
            found.append(condition)
    return tuple(dict.fromkeys(found))


def _about_one(condition: sympy.Basic) -> bool:
    return isinstance(condition, sympy.core.relational.Relational) and any(side in (0, 1, 2) for side in condition.args)


def _verify(
    count: Counter,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    dimensions: SymbolicInputs,
    formula: ClosedForm,
) -> None:
    for sizes in _held_out(dimensions):
        resized_args, resized_kwargs = dimensions.resized(args, kwargs, sizes)
        expected = count(FakeWorld.create(), resized_args, resized_kwargs)
        found = formula.tally.map(partial(evaluate, values=sizes))
        if expected.count != found.count:
            raise ClosedFormError(
                f"the count is no closed formula in {', '.join(dimensions.names)}: at {sizes} the formula gives "
                f"{found.flops} operations and counting gives {expected.flops}"
            )


def _held_out(dimensions: SymbolicInputs) -> list[dict[str, int]]:
    """Two sets of sizes near the example: one with a batch of one, one with other remainders of any stride."""
    examples = dimensions.sizes
    smaller = {name: 1 if name == "batch" else size + 7 for name, size in examples.items()}
    larger = {name: size + 1 if name == "batch" else 2 * size + 5 for name, size in examples.items()}
    return [smaller, larger]
