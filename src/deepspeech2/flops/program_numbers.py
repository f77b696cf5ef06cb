"""Operators that compute with numbers of a program, not with its tensors: they run, and nothing is counted."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes


def own_numbers(func: Any, args: Any) -> Any:
    """The arguments of an operator that computes with sizes or constants of a program, not with its tensors; or None.

    TorchScript hands the constants that were numbers over as numbers, where its own operators take tensors.
    """
    if _computes_sizes(func, args):
        return args
    if not _asks_constants(func, args):
        return None
    with _disable_current_modes():
        return tuple(value if isinstance(value, torch.Tensor) else torch.as_tensor(value) for value in args)


def _computes_sizes(func: Any, args: Any) -> bool:
    """Whether an operator is arithmetic on sizes, which traced TorchScript does on real integer scalars."""
    tensors = [value for value in args if isinstance(value, torch.Tensor)]
    if not tensors or func._schema.is_mutable:
        return False
    return all(
        type(tensor) is torch.Tensor and tensor.dim() == 0 and not tensor.dtype.is_floating_point for tensor in tensors
    )


def _asks_constants(func: Any, args: Any) -> bool:
    """Whether TorchScript asks for a number it holds (a scale), or, optimising, whether two constants are equal."""
    if func is torch.ops.aten._local_scalar_dense.default:
        return isinstance(args[0], int | float) or _is_constant(args[0])
    return func is torch.ops.aten.equal.default and all(
        isinstance(value, int | float) or (type(value) is torch.Tensor and not value.is_meta) for value in args
    )


def _is_constant(value: Any) -> bool:
    """Whether it is a number of the program's own, as scripts from files hold them: one element, no weight."""
    return type(value) is torch.Tensor and value.numel() == 1 and not value.requires_grad and not value.is_meta
