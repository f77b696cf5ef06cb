"""Which axis a symbolic dimension is where nobody names it: the longest that gives a formula."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepspeech2.errors import ClosedFormError, InputError
from deepspeech2.flops.closed_form import ClosedForm
from deepspeech2.flops.derivation import Counter, derive
from deepspeech2.flops.dimensions import SymbolicInputs, possible_dimensions
from deepspeech2.flops.fakes import FakeWorld


def derive_along(
    count: Counter, program: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], symbolic: Mapping[str, Any]
) -> ClosedForm:
    """Find the closed formula in symbolic dimensions, of which some may not say which axis they are.

    Features are often longer than the time of an example, and fixed by the first layer: where the longest axis gives no
    formula, the next longest is tried.

    Args:
        count: counts the program on given inputs in a given world.
        program: what is counted; may declare `symbolic_axes`.
        args: positional example inputs.
        kwargs: keyword example inputs.
        symbolic: the dimensions, as for `deepspeech2.count`.

    Raises:
        ClosedFormError: the count is no formula in these dimensions, whichever axes they are.
        InputError: the program does not run on the example.
        OptionError: a dimension does not exist.
    """
    tried: list[SymbolicInputs] = []
    refusals: list[ClosedFormError | InputError] = []
    for dimensions in possible_dimensions(program, args, kwargs, symbolic):
        tried.append(dimensions)
        try:
            return derive(count, args, kwargs, dimensions)
        except (ClosedFormError, InputError) as error:
            refusals.append(error)
    # What is wrong with the axes tried first, the likeliest, says most.
    for name in tried[0].names:
        words = _fixed(count, args, kwargs, tried[0], name)
        if words is not None:
            searched = any(one.place(name) != tried[0].place(name) for one in tried)
            others = ", and no other axis gives a formula; name the axis" if searched else "; name another axis"
            raise ClosedFormError(
                f"{name} is {tried[0].place(name)}{' (the longest)' if searched else ''}, which the module does not "
                f"run at other sizes{others} ({words})"
            ) from refusals[0]
    raise refusals[0]


def _fixed(
    count: Counter, args: tuple[Any, ...], kwargs: Mapping[str, Any], dimensions: SymbolicInputs, name: str
) -> str | None:
    """What the program says of other sizes of a dimension where it takes none of them, though the example's."""
    size = dimensions.sizes[name]
    refusal = None
    for other in (size, size + 1, 2 * size):
        try:
            count(FakeWorld.create(), *dimensions.resized(args, kwargs, {**dimensions.sizes, name: other}))
        except InputError as error:
            if other == size:
                return None
            refusal = str(error)
        else:
            if other != size:
                return None
    return refusal
