"""Fused kernels that stand for several operators, spelled out: torch's fast paths of attention and encoder layers.

TorchScript and exported programs may hold these kernels; what they compute is counted as the operators they fuse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

_aten = torch.ops.aten


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(batch, positions, size) to (batch, heads, positions, size / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _allowed(mask: torch.Tensor | None, mask_type: int | None) -> torch.Tensor | None:
    """A mask that is true where attention is forbidden, as one that is true where it is allowed."""
    if mask is None:
        return None
    allowed = mask.logical_not()
    # 0: (queries, keys); 1: (batch, keys), padding; 2: (batch, heads, queries, keys).
    return allowed[:, None, None, :] if mask_type == 1 else allowed


def _multi_head_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    embed_dim: int,
    num_head: int,
    qkv_weight: torch.Tensor,
    qkv_bias: torch.Tensor,
    proj_weight: torch.Tensor,
    proj_bias: torch.Tensor,
    mask: torch.Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    weights = qkv_weight.chunk(3)
    biases = qkv_bias.chunk(3)
    inputs = (query, key, value)
    q, k, v = (
        _heads(functional.linear(x, w, b), num_head) for x, w, b in zip(inputs, weights, biases, strict=True)
    )
    allowed = _allowed(mask, mask_type)
    if need_weights:
        scores = (q * (embed_dim // num_head) ** -0.5) @ k.transpose(-2, -1)
        if allowed is not None:
            scores = scores.masked_fill(allowed.logical_not(), float("-inf"))
        shares = torch.softmax(scores, dim=-1)
        mixed = shares @ v
        returned = shares.mean(1) if average_attn_weights else shares
    else:
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        returned = query.new_empty(0)
    return functional.linear(mixed.transpose(1, 2).flatten(2), proj_weight, proj_bias), returned


def _encoder_layer(
    src: torch.Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: torch.Tensor,
    qkv_bias: torch.Tensor,
    proj_weight: torch.Tensor,
    proj_bias: torch.Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: torch.Tensor,
    norm_bias_1: torch.Tensor,
    norm_weight_2: torch.Tensor,
    norm_bias_2: torch.Tensor,
    ffn_weight_1: torch.Tensor,
    ffn_bias_1: torch.Tensor,
    ffn_weight_2: torch.Tensor,
    ffn_bias_2: torch.Tensor,
    mask: torch.Tensor | None = None,
    mask_type: int | None = None,
) -> torch.Tensor:
    def attend(x: torch.Tensor) -> torch.Tensor:
        projections = (qkv_weight, qkv_bias, proj_weight, proj_bias)
        return _multi_head_attention(
            x, x, x, embed_dim, num_heads, *projections, mask, need_weights=False, mask_type=mask_type
        )[0]

    def feed_forward(x: torch.Tensor) -> torch.Tensor:
        inner = functional.linear(x, ffn_weight_1, ffn_bias_1)
        return functional.linear(
            functional.gelu(inner) if use_gelu else functional.relu(inner), ffn_weight_2, ffn_bias_2
        )

    def first(x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)

    def second(x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)

    if norm_first:
        x = src + attend(first(src))
        return x + feed_forward(second(x))
    x = first(src + attend(src))
    return second(x + feed_forward(x))


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    _aten._native_multi_head_attention.default: _multi_head_attention,
    _aten._transformer_encoder_layer_fwd.default: _encoder_layer,
}
