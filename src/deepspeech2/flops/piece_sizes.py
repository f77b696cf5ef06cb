"""PieceSizes: into pieces of which sizes a program cuts its tensors; one of them is the period of its count.

A Python loop hides its step from symbolic tracing, but what it does with it shows: it slices, splits, unfolds, strides
or folds an axis into two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from math import lcm
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

# Larger pieces take too long to count at several times their size; so do more of them.
_LARGEST, _MOST = 4096, 24


@dataclass
class PieceSizes:
    """Follows the operators of one or several counts."""

    found: dict[int, None] = field(default_factory=dict)
    _starts: dict[tuple[int, int], int] = field(default_factory=dict)

    def follow(self, func: Any, args: Any, kwargs: Any, outputs: Any) -> None:
        """Note the sizes an operator cuts, and its strides."""
        name = func._opname
        if name == "slice":
            self._slice(*args, **kwargs)
        elif name in ("split", "split_with_sizes", "unfold", "unsafe_split", "unsafe_split_with_sizes"):
            self._note(tree_flatten((args[1:], kwargs))[0])
        elif name in ("view", "_unsafe_view", "reshape", "_reshape_alias"):
            before = {size for size in args[0].shape if type(size) is int}
            self._note([size for size in outputs.shape if type(size) is int and size not in before])
        elif any(argument.name == "stride" for argument in func._schema.arguments) and "as_strided" not in name:
            place = next(index for index, argument in enumerate(func._schema.arguments) if argument.name == "stride")
            self._note(tree_flatten(args[place : place + 1] or kwargs.get("stride"))[0])

    def _slice(self, tensor: torch.Tensor, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> None:
        if type(start) is int and type(end) is int and 0 <= start < end:
            self._note([end - start])
        # Counted from the end: all but so many, the last so many.
        self._note([step, *(-place for place in (start, end) if type(place) is int)])
        if type(start) is int:
            # The distance from one slice to the next.
            key = (dim, int(tensor.shape[dim]) if type(tensor.shape[dim]) is int else 0)
            self._note([start - self._starts.get(key, start)])
            self._starts[key] = start

    def _note(self, sizes: Any) -> None:
        for size in sizes:
            if type(size) is int and 1 < size <= _LARGEST:
                self.found[size] = None

    @property
    def longest(self) -> int:
        """The largest of the sizes; 0 without any."""
        return max(self.found, default=0)

    def periods(self) -> Iterator[int]:
        """What the period may be: a size, or where there are several at once (a stride, then chunks) a multiple."""
        sizes = sorted(self.found)[:_MOST]
        yield from sizes
        several = {multiple for one, other in combinations(sizes, 2) for multiple in (lcm(one, other), one * other)}
        yield from sorted(multiple for multiple in several - set(sizes) if multiple <= _LARGEST)[:_MOST]
