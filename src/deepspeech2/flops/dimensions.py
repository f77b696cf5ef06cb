"""Which axes of the inputs are symbols: reads the `symbolic` argument of `count`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from keyword import iskeyword
from typing import Any

import torch

from deepspeech2.errors import OptionError


@dataclass(frozen=True)
class SymbolicInputs:
    """Named axes of the inputs.

    `str` gives them in words.

    Attributes:
        axes: input (position or keyword) -> axis -> name.
        sizes: name -> size of the example.
    """

    axes: dict[int | str, dict[int, str]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions, in the order they were asked for."""
        return tuple(self.sizes)

    def __str__(self) -> str:
        """`batch is axis 0 of inputs 0 and 1, time is axis 2 of input 0`."""
        return ", ".join(f"{name} is {self.place(name)}" for name in self.names)

    def place(self, name: str) -> str:
        """The axes of a name in words: `axis 0 of inputs 0 and 1`."""
        inputs: dict[int, list[str]] = {}
        for key, named in self.axes.items():
            for axis in (axis for axis, other in named.items() if other == name):
                inputs.setdefault(axis, []).append(str(key))
        words = {axis: f"input{'s' if len(keys) > 1 else ''} {' and '.join(keys)}" for axis, keys in inputs.items()}
        return " and ".join(f"axis {axis} of {keys}" for axis, keys in words.items())

    def without(self, names: Collection[str]) -> SymbolicInputs:
        """The same axes, but for some names."""
        axes = {
            key: {axis: name for axis, name in named.items() if name not in names} for key, named in self.axes.items()
        }
        return SymbolicInputs(axes, {name: size for name, size in self.sizes.items() if name not in names})

    def resized(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], sizes: Mapping[str, int]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same inputs with other sizes of the named axes, on the meta device: shapes without memory."""
        return (
            tuple(self._resize(value, self.axes.get(position, {}), sizes) for position, value in enumerate(args)),
            {name: self._resize(value, self.axes.get(name, {}), sizes) for name, value in kwargs.items()},
        )

    @staticmethod
    def _resize(value: Any, axes: Mapping[int, str], sizes: Mapping[str, int]) -> Any:
        if not axes:
            return value
        shape = [sizes[axes[axis]] if axis in axes else size for axis, size in enumerate(value.shape)]
        return torch.empty(shape, dtype=value.dtype, device="meta").requires_grad_(value.requires_grad)


def possible_dimensions(
    program: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], symbolic: Mapping[str, Any]
) -> Iterator[SymbolicInputs]:
    """What the symbolic names may stand for: `...` is each free axis of the first input in turn, the longest first.

    A name the program itself declares in `symbolic_axes` is that alone, and `batch` is axis 0.

    Raises:
        OptionError: as `resolve_dimensions`.
    """
    yield resolve_dimensions(program, args, kwargs, symbolic)
    open_names = [name for name, wanted in symbolic.items() if _is_open(program, name, wanted)]
    named = {name: wanted for name, wanted in symbolic.items() if name not in open_names}
    key, first = next((key, value) for key, value in _keyed(args, kwargs) if isinstance(value, torch.Tensor))
    taken = resolve_dimensions(program, args, kwargs, named).axes.get(key, {})
    free = sorted((axis for axis in range(1, first.dim()) if axis not in taken), key=lambda axis: -first.shape[axis])
    # The first of them is what was resolved already.
    for axes in list(permutations(free, len(open_names)))[1:]:
        yield resolve_dimensions(program, args, kwargs, {**symbolic, **dict(zip(open_names, axes, strict=True))})


def _is_open(program: Any, name: str, wanted: Any) -> bool:
    """Whether no one says which axis a name stands for."""
    return (wanted is Ellipsis or wanted is None) and name != "batch" and _declared(program, name) is None


def _declared(program: Any, name: str) -> list[tuple[int | str, int]] | None:
    """The axes the program itself says a name stands for."""
    return getattr(program, "symbolic_axes", {}).get(name)


def resolve_dimensions(
    program: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], symbolic: Mapping[str, Any]
) -> SymbolicInputs:
    """Find the axis or axes each symbolic name stands for.

    Names without an axis take what all others leave, in whichever order they are given; of several, the first takes the
    longest.

    Raises:
        OptionError: a name, an axis or an input does not exist, or an axis is named twice.
    """
    if not isinstance(symbolic, Mapping):
        raise OptionError(f"symbolic: expected names with their axes, {{'time': 2}}, found {symbolic!r}")
    inputs: dict[int | str, torch.Tensor] = {
        key: value for key, value in _keyed(args, kwargs) if isinstance(value, torch.Tensor)
    }
    if not inputs:
        raise OptionError("symbolic dimensions need at least one tensor among the inputs")
    found = SymbolicInputs()
    for name in symbolic:
        if not isinstance(name, str) or not name.isidentifier() or iskeyword(name):
            raise OptionError(
                f"a symbolic dimension needs a name that Python takes for an argument, as in 'time'; found {name!r}"
            )
    for name, wanted in sorted(symbolic.items(), key=lambda pair: _is_open(program, *pair)):
        for key, axis in _places(program, inputs, name, wanted, found):
            _claim(found, inputs, name, key, axis)
    return SymbolicInputs(
        {key: found.axes[key] for key in inputs if key in found.axes},
        {name: found.sizes[name] for name in symbolic if name in found.sizes},
    )


def _keyed(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[int | str, Any]]:
    pairs: list[tuple[int | str, Any]] = list(enumerate(args))
    pairs.extend(kwargs.items())
    return pairs


def _places(
    program: Any, inputs: Mapping[int | str, torch.Tensor], name: str, wanted: Any, found: SymbolicInputs
) -> list[tuple[int | str, int]]:
    if wanted is Ellipsis or wanted is None:
        declared = _declared(program, name)
        if declared is not None:
            return [(key, axis) for key, axis in declared if key in inputs]
        wanted = 0 if name == "batch" else _longest_axis(inputs, name, found)
    if isinstance(wanted, bool):
        raise OptionError(f"symbolic dimension {name!r} must be an axis or pairs (input, axis), found {wanted!r}")
    if isinstance(wanted, int):
        return _same_axis_everywhere(inputs, name, wanted)
    if isinstance(wanted, Sequence) and wanted and not isinstance(wanted, str):
        pairs = [wanted] if not isinstance(wanted[0], Sequence) or isinstance(wanted[0], str) else wanted
        if all(isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[1], int) for pair in pairs):
            return [(pair[0], pair[1]) for pair in pairs]
    raise OptionError(f"symbolic dimension {name!r} must be an axis, pairs (input, axis) or ..., found {wanted!r}")


def _longest_axis(inputs: Mapping[int | str, torch.Tensor], name: str, found: SymbolicInputs) -> int:
    key, first = next(iter(inputs.items()))
    free = [axis for axis in range(1, first.dim()) if axis not in found.axes.get(key, {})]
    if not free:
        raise OptionError(f"no axis is left for {name!r} in the first input of shape {tuple(first.shape)}")
    return max(free, key=lambda axis: first.shape[axis])


def _same_axis_everywhere(
    inputs: Mapping[int | str, torch.Tensor], name: str, axis: int
) -> list[tuple[int | str, int]]:
    first = next(iter(inputs.values()))
    if not -first.dim() <= axis < first.dim():
        raise OptionError(f"symbolic dimension {name!r}: axis {axis} is not in an input of shape {tuple(first.shape)}")
    axis %= first.dim()
    size = first.shape[axis]
    return [(key, axis) for key, tensor in inputs.items() if tensor.dim() > axis and tensor.shape[axis] == size]


def _claim(
    found: SymbolicInputs, inputs: Mapping[int | str, torch.Tensor], name: str, key: int | str, axis: int
) -> None:
    if key not in inputs:
        raise OptionError(f"symbolic dimension {name!r}: there is no tensor input {key!r}; inputs: {list(inputs)}")
    tensor = inputs[key]
    if not -tensor.dim() <= axis < tensor.dim():
        raise OptionError(f"symbolic dimension {name!r}: axis {axis} is not in input {key!r} of {tuple(tensor.shape)}")
    axis %= tensor.dim()
    axes = found.axes.setdefault(key, {})
    if axes.setdefault(axis, name) != name:
        raise OptionError(f"axis {axis} of input {key!r} is named both {axes[axis]!r} and {name!r}")
    size = tensor.shape[axis]
    if found.sizes.setdefault(name, size) != size:
        raise OptionError(
            f"symbolic dimension {name!r} is {found.sizes[name]} in one input and {size} in {key!r}; they must agree"
        )
