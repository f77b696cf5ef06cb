"""What an index pattern is: a ramp over the axes of a tensor, or one value inside a band and another outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch

from deepspeech2.flops.formulas.bands import Band
from deepspeech2.flops.operations import Number


@dataclass(frozen=True, slots=True)
class Ramp:
    """offset + sum of slope * index; axes are counted from the last one. Without slopes, a constant.

    Attributes:
        offset: the value at the origin.
        slopes: axis -> slope, none of them zero.
        magnitude: the absolute value of that.
    """

    offset: Any
    slopes: Mapping[int, int] = field(default_factory=dict)
    magnitude: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One value inside a band, another one outside."""

    band: Band
    inside: Any
    outside: Any

    def map(self, function: Callable[[Any], Any]) -> Pattern:
        """A function of every element."""
        inside, outside = function(self.inside), function(self.outside)
        return Ramp(inside) if inside == outside else Choice(self.band, inside, outside)

    def true_band(self) -> Band | None:
        """Where a boolean pattern is true, if that is a band."""
        return self.band if self.inside else self.band.complement()


Pattern: TypeAlias = "Ramp | Choice"


@dataclass(frozen=True, slots=True)
class Operands:
    """A call: its arguments by position, their patterns, and the result.

    Attributes:
        pattern_of: the pattern of a tensor or a number.
        size: a size as a number.
        args: positional arguments.
        kwargs: keyword arguments.
        output: the result.
    """

    pattern_of: Callable[[Any], Pattern | None]
    size: Callable[[Any], Number]
    args: Any
    kwargs: Any
    output: torch.Tensor

    def __getitem__(self, index: int) -> Pattern | None:
        """The pattern of an argument."""
        return self.pattern_of(self.args[index]) if index < len(self.args) else None

    def argument(self, index: int, default: Any = None) -> Any:
        """An argument as it is."""
        return self.args[index] if index < len(self.args) else default

    def sizes(self, tensor: torch.Tensor) -> list[Number]:
        """The shape in numbers."""
        return [self.size(size) for size in tensor.shape]
