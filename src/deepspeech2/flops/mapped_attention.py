"""Attention under torch.func.vmap: of all samples at once, as one call with an axis more in front."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._functorch.pyfunctorch import VmapInterpreter, retrieve_current_functorch_interpreter

_NAMES = ("query", "key", "value", "attn_mask")
_MORE = ("dropout_p", "is_causal")
_ATTENTION = (torch.nn.functional.scaled_dot_product_attention, torch._C._nn.scaled_dot_product_attention)


def is_mapped_attention(function: Any) -> bool:
    """Whether a function is attention, called for one sample of a vmap, which is the innermost transform."""
    if torch._C._functorch.peek_interpreter_stack() is None or function not in _ATTENTION:
        return False
    return isinstance(retrieve_current_functorch_interpreter(), VmapInterpreter)


def of_all_samples(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call attention outside of the innermost vmap, with its samples as the first axis.

    Below, the kernel would be spelled out, every pair of a query and a key, though a mask forbids some.
    """
    options = {**dict(zip((*_NAMES, *_MORE), args, strict=False)), **kwargs}
    interpreter = retrieve_current_functorch_interpreter()
    level = interpreter.level()
    axes = max(options[name].dim() for name in _NAMES[:3])
    mapped = False
    with interpreter.lower():
        for name in _NAMES:
            tensor = options.get(name)
            if not isinstance(tensor, torch.Tensor) or not torch._C._functorch.is_batchedtensor(tensor):
                continue
            whole, axis = torch._C._functorch._unwrap_batched(tensor, level)
            if axis is None:
                continue
            mapped = True
            whole = whole.movedim(axis, 0)
            # Samples stand in front of all other axes, those this tensor leaves to broadcasting included.
            options[name] = whole[(slice(None), *[None] * (axes - whole.dim() + 1))]
        result = call(**options)
        return torch._C._functorch._add_batch_dim(result, 0, level) if mapped else result
