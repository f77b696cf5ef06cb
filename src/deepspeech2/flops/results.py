"""Results of operators whose shape rules in torch refuse what their kernels take, or lose a symbol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

_aten = torch.ops.aten


def _padded(x: torch.Tensor, pad: Sequence[Any], _value: float = 0) -> torch.Tensor:
    """Sizes of a constant padding: the pairs of `pad` belong to the axes from the last one on."""
    sizes = list(x.shape)
    for place in range(0, len(pad), 2):
        sizes[-1 - place // 2] = sizes[-1 - place // 2] + pad[place] + pad[place + 1]
    return x.new_empty(sizes)


def _grouped_product(
    a: torch.Tensor, b: torch.Tensor, offsets: Any = None, _bias: Any = None, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """Sizes of a grouped product; the rule in torch is for bfloat16 alone, the kernel of the CPU is not."""
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(f"grouped_mm needs inner sizes that agree, found {tuple(a.shape)} and {tuple(b.shape)}")
    groups = () if a.dim() != b.dim() else (offsets.shape[0] if a.dim() == 2 else a.shape[0],)
    return a.new_empty((*groups, a.shape[-2], b.shape[-1]), dtype=dtype or a.dtype)


_ALWAYS: dict[Any, Callable[..., Any]] = {_aten._grouped_mm.default: _grouped_product}
_OF_SYMBOLS: dict[Any, Callable[..., Any]] = {_aten.constant_pad_nd.default: _padded}


def own_result(func: Any, *, symbolic: bool) -> Callable[..., Any] | None:
    """What makes the result of an operator in place of torch's own rule, or None where that one does.

    Args:
        func: the operator.
        symbolic: whether sizes may be symbols, which some of torch's rules turn into numbers.
    """
    return _ALWAYS.get(func) or (_OF_SYMBOLS.get(func) if symbolic else None)
