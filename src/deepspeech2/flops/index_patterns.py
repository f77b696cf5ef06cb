"""Index patterns: masks that a program builds from positions, known without being written out.

A causal or sliding mask is made from `arange`, comparisons, `tril`, `triu` and fills. What such a tensor holds is
followed as a formula of its indices, so that a mask of any length, and of a symbolic one, is known: by its two bounds.
Anything that is not such a formula is simply not known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from deepspeech2.flops.formulas.bands import Band
from deepspeech2.flops.index_rules import RULES
from deepspeech2.flops.index_values import Choice, Operands, Pattern, Ramp
from deepspeech2.flops.known_values import known_value
from deepspeech2.flops.operations import Number

_ATTRIBUTE = "_index_pattern"


def allowed_band(tensor: torch.Tensor) -> Band | None:
    """The pairs an attention mask allows: where it is true, or, for numbers, not minus infinity."""
    learned = getattr(tensor, _ATTRIBUTE, None)
    found = None if learned is None else learned[2].of(tensor)
    if not isinstance(found, Choice):
        return None
    allowed = found if tensor.dtype == torch.bool else found.map(lambda value: value != float("-inf"))
    return allowed.true_band() if isinstance(allowed, Choice) else None


class IndexPatterns:
    """Follows patterns from operator to operator."""

    def __init__(self, read_size: Callable[[Any], Number]) -> None:
        self._read_size = read_size
        # How often each storage was written: what was known of its tensors before is out of date.
        self._writes: dict[int, int] = {}

    def follow(self, func: Any, args: Any, kwargs: Any, outputs: Any) -> None:
        """Learn the pattern of an operator's result, forget those of what it writes."""
        name = func._opname
        rule = RULES.get(name) or (RULES.get(name[:-1]) if name.endswith("_") else None)
        pattern = None
        if rule is not None and isinstance(outputs, torch.Tensor):
            try:
                pattern = rule(Operands(self.of, self._read_size, args, kwargs, outputs))
            except (TypeError, ValueError, IndexError, AttributeError, ArithmeticError):
                # An unusual spelling of the call; not knowing its pattern is always right.
                pattern = None
        if func._schema.is_mutable and args and isinstance(args[0], torch.Tensor):
            address = _address(args[0])
            self._writes[address] = self._writes.get(address, 0) + 1
        if pattern is not None:
            setattr(outputs, _ATTRIBUTE, (pattern, self._writes.get(_address(outputs), 0), self))

    def of(self, value: Any) -> Pattern | None:
        """The pattern of an operand: a tensor or a number."""
        if isinstance(value, torch.Tensor):
            pattern, writes, _ = getattr(value, _ATTRIBUTE, (None, 0, None))
            if pattern is not None:
                return None if self._writes.get(_address(value), 0) != writes else pattern
            scalar = known_value(value) if value.dim() == 0 else None
            if scalar is None:
                return None
            with _disable_current_modes():
                return Ramp(scalar.item())
        if isinstance(value, torch.SymInt):
            return Ramp(self._read_size(value))
        return Ramp(value) if isinstance(value, bool | int | float) else None


def _address(tensor: torch.Tensor) -> int:
    with torch._C.DisableTorchFunction():
        return int(tensor.untyped_storage()._cdata)
