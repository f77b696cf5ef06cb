"""How a closed formula is found: by tracing with symbolic sizes, or by exact interpolation, and always verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import sympy
import torch
from torch.utils._pytree import tree_map_only

from deepspeech2.errors import ClosedFormError, CountingError, InputError
from deepspeech2.flops.closed_form import ClosedForm
from deepspeech2.flops.dimensions import SymbolicInputs
from deepspeech2.flops.expressions import evaluate, plain_sympy
from deepspeech2.flops.fakes import FakeWorld
from deepspeech2.flops.interpolation import interpolate
from deepspeech2.flops.known_values import is_read
from deepspeech2.flops.leftovers import caches_emptied
from deepspeech2.flops.piece_sizes import PieceSizes
from deepspeech2.flops.tally import Tally

# Lengths are brought down to at least this, and by multiples of the other, to see whether a program loops over them.
_SHORT, _PERIOD = 24, 12

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
    formula = replace(_formula(count, args, kwargs, dimensions), axes=str(dimensions))
    return _noting_values(formula, count, args, kwargs, dimensions)


def _formula(
    count: Counter, args: tuple[Any, ...], kwargs: Mapping[str, Any], dimensions: SymbolicInputs
) -> ClosedForm:
    pieces = PieceSizes()

    def at_sizes(sizes: Mapping[str, int]) -> Tally:
        return _partly_symbolic(count, args, kwargs, dimensions, sizes, pieces)

    loops, short = _traced_short(count, args, kwargs, dimensions)
    if loops:
        return interpolate(at_sizes, dimensions, loops, pieces=pieces)
    try:
        # What the program asked at a short length it would have been answered at the example's: one trace for both.
        fits = short is not None and short.holds(dimensions.sizes)
        formula = short if short is not None and fits else _traced(count, args, kwargs, dimensions, dimensions.sizes)
        _verify(count, *_known_inputs(formula.tally, args, kwargs), dimensions, formula)
    except (CountingError, InputError) as error:
        return _from_integers(at_sizes, dimensions, error, pieces)
    return formula


def _noting_values(
    formula: ClosedForm, count: Counter, args: tuple[Any, ...], kwargs: Mapping[str, Any], dimensions: SymbolicInputs
) -> ClosedForm:
    """The same formula with the notes of its tally, and one where values (lengths, masks) make the example cheaper.

    Inputs of other sizes have no values, so that a formula counts every pair that a mask might have left out. An
    example that is longer than what was compared with counts takes too many operators to be looked at here.
    """
    formula = replace(formula, notes=(*formula.notes, *formula.tally.notes))
    inputs: dict[int | str, Any] = dict(enumerate(args))
    inputs.update(kwargs)
    resized = [inputs[key] for key in (inputs if formula.tally.notes else dimensions.axes)]
    too_long = any(dimensions.sizes[name] > longest for name, longest in formula.longest_checked.items())
    if too_long or not any(map(is_read, resized)):
        return formula
    return formula.beside(count(FakeWorld.create(), args, kwargs).count, dimensions.sizes)


def _from_integers(
    at_sizes: Callable[[Mapping[str, int]], Tally],
    dimensions: SymbolicInputs,
    error: CountingError | InputError,
    pieces: PieceSizes,
) -> ClosedForm:
    """The formula of a program that does not take symbols, from counts at sizes; the first error where it has none."""
    # Inputs that do not fit at any size: this raises what counting them raises.
    at_sizes(dimensions.sizes)
    try:
        return interpolate(at_sizes, dimensions, dimensions.names, pieces=pieces)
    except (CountingError, InputError) as other:
        # Where the program takes no other size, the first error says why.
        tells = isinstance(other, ClosedFormError) and not isinstance(other.__cause__, InputError)
        raise (other if tells else error) from error


def _traced_short(
    count: Counter, args: tuple[Any, ...], kwargs: Mapping[str, Any], dimensions: SymbolicInputs
) -> tuple[tuple[str, ...], ClosedForm | None]:
    """Trace at a short length, where a Python loop is soon over.

    Returns:
        The dimensions the program asks the value of, as such a loop does; and without any, the formula.
    """
    short = {name: _short(size) for name, size in dimensions.sizes.items()}
    fixed: list[str] = []
    try:
        return (), _traced(count, args, kwargs, dimensions, short, fixed)
    except (CountingError, InputError):
        # The program does not take so short an input, or no symbols: what it does is found out further on.
        return tuple(fixed), None


def _short(size: int) -> int:
    return size if size < _SHORT + _PERIOD else _SHORT + (size - _SHORT) % _PERIOD


def _partly_symbolic(
    count: Counter,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    dimensions: SymbolicInputs,
    sizes: Mapping[str, int],
    pieces: PieceSizes,
) -> Tally:
    """Count with some dimensions at given sizes and the others as symbols."""
    example = {**dimensions.sizes, **sizes}
    resized_args, resized_kwargs = dimensions.resized(args, kwargs, example)
    if set(sizes) == set(dimensions.names):
        world = FakeWorld.create()
        world.pieces = pieces
        return count(world, resized_args, resized_kwargs)
    rest = dimensions.without(sizes)
    world, symbolic_args, symbolic_kwargs = _symbolic_inputs(resized_args, resized_kwargs, rest, rest.sizes)
    world.pieces = pieces
    tally = count(world, symbolic_args, symbolic_kwargs)
    _refuse_fixed(world)
    return tally


def _symbolic_inputs(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], dimensions: SymbolicInputs, sizes: Mapping[str, int]
) -> tuple[FakeWorld, tuple[Any, ...], dict[str, Any]]:
    """A fresh world with the inputs in it, the named axes as symbols.

    The sizes stand behind the symbols as hints, but above one (a size of one broadcasts) and all different.
    """
    world = FakeWorld.create(symbolic=True)
    hints: dict[str, int] = {}
    for name, size in sizes.items():
        hint = max(size, 2)
        while hint in hints.values():
            hint += 1
        hints[name] = hint

    def symbolic(key: int | str, value: Any) -> Any:
        axes = dimensions.axes.get(key)
        if not axes:
            return value
        return world.symbolic_input(value, {axis: (name, hints[name]) for axis, name in axes.items()})

    symbolic_args = tuple(symbolic(position, value) for position, value in enumerate(args))
    return world, symbolic_args, {name: symbolic(name, value) for name, value in kwargs.items()}


def _traced(
    count: Counter,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    dimensions: SymbolicInputs,
    sizes: Mapping[str, int],
    fixed: list[str] | None = None,
) -> ClosedForm:
    """The formula by one trace, `sizes` behind the symbols; names of dimensions that are not free go to `fixed`."""
    world, symbolic_args, symbolic_kwargs = _symbolic_inputs(args, kwargs, dimensions, sizes)
    tally = count(world, symbolic_args, symbolic_kwargs)
    if fixed is not None:
        fixed.extend(world.fixed_dimensions())
    _refuse_fixed(world)
    conditions, doubts = _conditions(world)

    known = _known_inputs(tally, args, kwargs)

    @caches_emptied()
    def recount(sizes: Mapping[str, int]) -> Tally:
        return count(FakeWorld.create(), *dimensions.resized(*known, sizes))

    return ClosedForm(tally, dimensions.names, conditions, doubts=doubts, recount=recount)


def _known_inputs(
    tally: Tally, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """The inputs a formula is compared with: without the values of lengths, where the tally notes that it lacks some.

    Lengths of an example say nothing of other sizes, also where their own number stays (`time` alone is a symbol).
    """
    if not tally.notes:
        return args, kwargs

    def without_values(tensor: torch.Tensor) -> torch.Tensor:
        is_lengths = is_read(tensor) and tensor.dim() == 1 and not tensor.is_floating_point()
        return tensor.to("meta") if is_lengths else tensor

    known: tuple[tuple[Any, ...], Mapping[str, Any]] = tree_map_only(torch.Tensor, without_values, (args, kwargs))
    return known


def _refuse_fixed(world: FakeWorld) -> None:
    for name, equation in world.fixed_dimensions().items():
        raise ClosedFormError(f"the program fixes {equation}: {name} is not a free dimension of this program")


def _conditions(world: FakeWorld) -> tuple[tuple[sympy.Basic, ...], tuple[sympy.Basic, ...]]:
    """What the program asked about sizes, answered for the hints: its own decisions, and those of torch.

    Torch asks whether sizes are one for broadcasting and memory layout, and how large batches are to choose a kernel,
    which hardly ever changes a count. Sizes that would answer differently are counted directly all the same.
    """
    decisions: dict[sympy.Basic, None] = {}
    doubts: dict[sympy.Basic, None] = {}
    known = set(world.read_size.names.values())
    for guard in world.shapes.guards if world.shapes is not None else ():
        condition = plain_sympy(guard.expr).xreplace(world.read_size.names)
        if condition not in (sympy.true, sympy.false) and condition.free_symbols <= known:
            (doubts if _about_one(condition) or _chooses_kernel(guard) else decisions)[condition] = None
    return tuple(decisions), tuple(doubts)


def _chooses_kernel(guard: Any) -> bool:
    """Whether torch itself asked, to choose a convolution's kernel: its answer differs by machine, a count does not."""
    frame = getattr(guard.sloc, "framework_loc", None)
    name, file = getattr(frame, "name", ""), getattr(frame, "filename", "")
    return bool(name == "conv" and file.endswith("fake_impls.py"))


def _about_one(condition: sympy.Basic) -> bool:
    """Whether a condition asks if a size is one (or none), in one of the ways torch does."""
    sides: tuple[sympy.Basic, ...] = getattr(condition, "args", ())
    if condition.has(sympy.Mod) or any(side in (0, 1) for side in sides):
        return True
    if isinstance(condition, sympy.Ge | sympy.Lt):
        return bool(2 in sides)
    if isinstance(condition, sympy.Eq | sympy.Ne):
        # batch * steps != batch: whether there is one step.
        return 1 in sympy.fraction(sympy.cancel(sides[0] / sides[1]))
    return False


def _verify(
    count: Counter,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    dimensions: SymbolicInputs,
    formula: ClosedForm,
) -> None:
    for sizes, multiples in zip(_held_out(dimensions), _multiples(dimensions), strict=True):
        try:
            expected = count(FakeWorld.create(), *dimensions.resized(args, kwargs, sizes))
        except InputError:
            # A program that halves and doubles a length takes multiples of its stride only.
            sizes = multiples  # noqa: PLW2901
            expected = count(FakeWorld.create(), *dimensions.resized(args, kwargs, sizes))
        found = formula.tally.count.map(partial(evaluate, values=sizes))
        if expected.count != found:
            raise ClosedFormError(
                f"the count is no closed formula in {', '.join(dimensions.names)}: at {sizes} the formula gives "
                f"{found.total} operations and counting gives {expected.flops}"
            )


def _held_out(dimensions: SymbolicInputs) -> list[dict[str, int]]:
    """Two sets of sizes near the example: one with a batch of one, one with other remainders of any stride."""
    examples = dimensions.sizes
    smaller = {name: 1 if name == "batch" else size + 7 for name, size in examples.items()}
    larger = {name: size + 1 if name == "batch" else 2 * size + 5 for name, size in examples.items()}
    return [smaller, larger]


def _multiples(dimensions: SymbolicInputs) -> list[dict[str, int]]:
    """Two sets of sizes of which the example's are divisors, but for the batch."""
    return [
        {name: size if name == "batch" else factor * dimensions.sizes[name] for name, size in sizes.items()}
        for sizes, factor in zip(_held_out(dimensions), (2, 3), strict=True)
    ]
