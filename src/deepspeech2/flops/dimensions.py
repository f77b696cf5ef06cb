"""Which axes of the inputs are symbols: reads the `symbolic` argument of `count`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from deepspeech2.errors import OptionError


@dataclass(frozen=True)
class SymbolicInputs:
    """Named axes of the inputs.

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


def resolve_dimensions(
    program: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], symbolic: Mapping[str, Any]
) -> SymbolicInputs:
    """Find the axis or axes each symbolic name stands for.

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
    for name, wanted in symbolic.items():
        if not name.isidentifier():
            raise OptionError(f"a symbolic dimension's name must be an identifier, found {name!r}")
        for key, axis in _places(program, inputs, name, wanted, found):
            _claim(found, inputs, name, key, axis)
    return found


def _keyed(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[int | str, Any]]:
    pairs: list[tuple[int | str, Any]] = list(enumerate(args))
    pairs.extend(kwargs.items())
    return pairs


def _places(
    program: Any, inputs: Mapping[int | str, torch.Tensor], name: str, wanted: Any, found: SymbolicInputs
) -> list[tuple[int | str, int]]:
    if wanted is Ellipsis or wanted is None:
        declared = getattr(program, "symbolic_axes", {}).get(name)
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
