"""Fused attention kernels, as dispatched (inside TorchScript and exported programs they arrive under these names)."""

from __future__ import annotations

from itertools import zip_longest
from math import prod

import torch
from torch.utils._python_dispatch import _disable_current_modes

from deepspeech2.flops.formulas.attention import Attention, attention, attention_gradient, mask_gradient
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula


def _heads(*tensors: TensorSpec) -> Number:
    """Independent attentions: the leading axes, broadcast. Where heads of a key serve several queries, the queries'."""
    axes = zip_longest(*[tensor.shape[:-2][::-1] for tensor in tensors], fillvalue=1)
    return prod(next((size for size in sizes if size != 1), 1) for sizes in axes)


def attention_sizes(call: Call) -> Attention:
    """Sizes of a call with `query`, `key`, `value` of (..., positions, size)."""
    query, key, value = call["query"], call["key"], call["value"]
    mask = call.get("attn_mask")
    if mask is None:
        mask = call.get("attn_bias")
    heads = _heads(query, key, value)
    allowed: Number | None
    if mask is not None and mask.value is not None:
        allowed, active, seen = _allowed_pairs(mask.value, (heads, query.shape[-2], key.shape[-2]))
    elif mask is not None and mask.allowed is not None and (mask.allowed.row, mask.allowed.column) == (-2, -1):
        band, sizes = mask.allowed, (query.shape[-2], key.shape[-2])
        allowed, active, seen = (heads * each(*sizes) for each in (band.pairs, band.rows, band.columns))
    else:
        # The values of the mask depend on a weight or an input: every pair counts.
        allowed, active, seen = None, None, None
    return Attention(
        heads=heads,
        queries=query.shape[-2],
        keys=key.shape[-2],
        key_size=query.shape[-1],
        value_size=value.shape[-1],
        causal=bool(call.get("is_causal")),
        bias=mask is not None and mask.is_floating,
        dropped=bool(call.get("dropout_p")),
        allowed=allowed,
        active=active,
        seen=seen,
    )


def _allowed_pairs(
    mask: torch.Tensor, shape: tuple[Number, Number, Number]
) -> tuple[int | None, int | None, int | None]:
    """Pairs a mask allows, queries it leaves any key, keys it leaves any query, over all heads; None for symbols."""
    heads, queries, keys = shape
    if not (isinstance(heads, int) and isinstance(queries, int) and isinstance(keys, int)) or not queries * keys:
        return None, None, None
    with _disable_current_modes():
        allowed = mask if mask.dtype == torch.bool else mask != float("-inf")
        allowed = allowed.expand(*allowed.shape[:-2], queries, keys)
        # The mask is broadcast over heads.
        repeats = heads * queries * keys // allowed.numel()
        counts = (allowed.sum(), allowed.any(-1).sum(), allowed.any(-2).sum())
        pairs, active, seen = (int(value) * repeats for value in counts)
        return pairs, active, seen


@register_formula(
    "aten::scaled_dot_product_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_attention_math",
    "aten::_scaled_dot_product_attention_math_for_mps",
    "aten::_scaled_dot_product_fused_attention_overrideable",
)
def _attention(call: Call) -> OperationCount:
    return attention(attention_sizes(call))


@register_formula(
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    "aten::_scaled_dot_product_flash_attention_backward",
    "aten::_scaled_dot_product_efficient_attention_backward",
    "aten::_scaled_dot_product_cudnn_attention_backward",
)
def _attention_backward(call: Call) -> OperationCount:
    sizes, needed = attention_sizes(call), call.get("output_mask", (True, True, True))
    count = attention_gradient(sizes, needed[:3], of_mask=any(needed[3:]))
    mask = call.get("attn_bias")
    return count + mask_gradient(sizes, mask.elements) if any(needed[3:]) and mask is not None else count
