"""Fused attention kernels, as dispatched (inside TorchScript and exported programs they arrive under these names)."""

from __future__ import annotations

from deepspeech2.flops.formulas.attention import Attention, attention, attention_gradient
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula


def _leading(tensor: TensorSpec) -> Number:
    heads: Number = 1
    for size in tensor.shape[:-2]:
        heads = heads * size
    return heads


def attention_sizes(call: Call) -> Attention:
    """Sizes of a call with `query`, `key`, `value` of (..., positions, size)."""
    query, key, value = call["query"], call["key"], call["value"]
    bias = call.get("attn_mask")
    if bias is None:
        bias = call.get("attn_bias")
    return Attention(
        heads=_leading(query),
        queries=query.shape[-2],
        keys=key.shape[-2],
        key_size=query.shape[-1],
        value_size=value.shape[-1],
        causal=bool(call.get("is_causal")),
        bias=bias is not None and bias.is_floating,
    )


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
    count = attention(attention_sizes(call))
    if call.get("dropout_p"):
        pairs = count.exp
        count = count + OperationCount(other=pairs, divide=pairs, multiply=pairs)
    return count


@register_formula(
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    "aten::_scaled_dot_product_flash_attention_backward",
    "aten::_scaled_dot_product_efficient_attention_backward",
    "aten::_scaled_dot_product_cudnn_attention_backward",
)
def _attention_backward(call: Call) -> OperationCount:
    return attention_gradient(attention_sizes(call))
