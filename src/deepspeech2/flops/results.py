"""Results of operators whose shape rules in torch refuse what their kernels take, or lose a symbol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from deepspeech2.flops.quantised_tensors import RESULTS as QUANTISED

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


def _packed_lstm(data: torch.Tensor, _sizes: Any, states: Sequence[torch.Tensor], *options: Any, **_: Any) -> Any:
    """Results of a quantised LSTM over a packed sequence; torch would run its kernel on batches of no sample."""
    directions = 2 if options[-1] else 1
    width = directions * states[0].shape[-1]
    return data.new_empty((data.shape[0], width)), *(state.new_empty(state.shape) for state in states)


def _packed_gru(data: torch.Tensor, sizes: Any, state: torch.Tensor, *options: Any, **_: Any) -> Any:
    return _packed_lstm(data, sizes, [state], *options)


_ALWAYS: dict[Any, Callable[..., Any]] = {
    **QUANTISED,
    _aten._grouped_mm.default: _grouped_product,
    _aten.quantized_lstm.data: _packed_lstm,
    _aten.quantized_gru.data: _packed_gru,
}
_OF_SYMBOLS: dict[Any, Callable[..., Any]] = {_aten.constant_pad_nd.default: _padded}


def own_result(func: Any, *, symbolic: bool) -> Callable[..., Any] | None:
    """What makes the result of an operator in place of torch's own rule, or None where that one does.

    Args:
        func: the operator.
        symbolic: whether sizes may be symbols, which some of torch's rules turn into numbers.
    """
    return _ALWAYS.get(func) or (_OF_SYMBOLS.get(func) if symbolic else None)
