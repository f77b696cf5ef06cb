"""Attention: per allowed (query, key) pair a dot product of the key size, and one term of a mix of values.

Sizes: 2 samples, 3 heads of 4, 7 positions, unless said; masked pairs cost nothing where a mask is part of the
attention itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.flops.cases.case import Program, case

attend = functional.scaled_dot_product_attention


def _qkv(queries: int = 7, keys: int = 7, value_size: int = 4) -> tuple[torch.Tensor, ...]:
    return torch.randn(2, 3, queries, 4), torch.randn(2, 3, keys, 4), torch.randn(2, 3, keys, value_size)


@case(
    6 * 49 * (4 + 4),
    kinds={
        "multiply": 6 * (49 * 4 + 49 + 49 * 4),
        "add": 6 * (49 * 3 + 49 + 49 - 7 + 49 * 4 - 7 * 4),
        "exp": 6 * 49,
        "divide": 6 * 49,
        "compare": 6 * (49 - 7),
    },
)
def attention() -> Program:
    """49 pairs in each of 6 heads: a product of 4, a scale, a softmax over 7, a mix of 4 values over 7."""
    return attend, _qkv()


@case(6 * 28 * (4 + 4))
def attention_causal() -> Program:
    """Position i sees 1 + i keys: 28 pairs of 49."""

    def program(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return attend(q, k, v, is_causal=True)

    return program, _qkv()


@case(6 * (1 + 2 + 3) * 8)
def attention_causal_more_keys() -> Program:
    """3 queries on 5 keys: the mask starts at the upper left corner, 1 + 2 + 3 pairs."""

    def program(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return attend(q, k, v, is_causal=True)

    return program, _qkv(3, 5)


@case(6 * 21 * (4 + 5))
def attention_cross() -> Program:
    """3 queries, 7 keys, values of 5."""
    return attend, _qkv(3, 7, 5)


@case(6 * 19 * 8)
def attention_boolean_mask() -> Program:
    """A band: |i - j| <= 1, 7 + 6 + 6 pairs; the mask is one of the inputs."""
    mask = torch.ones(7, 7, dtype=torch.bool).tril(1).triu(-1)
    return attend, (*_qkv(), mask)


@case(3 * (7 * 5 + 7 * 2) * 8)
def attention_padding_mask() -> Program:
    """Samples of 5 and 2 real keys: (2, 1, 1, 7) broadcast over 3 heads and 7 queries."""
    lengths = torch.tensor([5, 2])
    mask = torch.arange(7) < lengths[:, None]
    return attend, (*_qkv(), mask[:, None, None, :])


@case(6 * 28 * 8)
def attention_mask_made_inside() -> Program:
    """A causal mask made by the program with tril."""

    def program(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(7, 7, dtype=torch.bool).tril()
        return attend(q, k, v, attn_mask=mask)

    return program, _qkv()


@case(6 * 28 * 8)
def attention_infinite_mask() -> Program:
    """The causal mask as zeros and minus infinities, made inside."""

    def program(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(7)
        return attend(q, k, v, attn_mask=mask)

    return program, _qkv()


@case(6 * 49 * 8)
def attention_bias() -> Program:
    """A finite bias is added to every pair and forbids none."""
    return attend, (*_qkv(), torch.randn(7, 7))


@case(2 * 6 * 49 * 8)
def attention_grouped_queries() -> Program:
    """6 query heads share 3 key and value heads: 12 heads of pairs over both samples."""

    def program(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return attend(q, k, v, enable_gqa=True)

    return program, (torch.randn(2, 6, 7, 4), *_qkv()[1:])


@case(6 * 49 * 8)
def attention_by_hand() -> Program:
    """Two products and a softmax: all pairs."""

    def program(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.softmax(q @ k.transpose(-2, -1) / 2, dim=-1) @ v

    return program, _qkv()


@case(49 * 8)
def attention_without_heads() -> Program:
    """(7, 4) each: one head."""
    return attend, (torch.randn(7, 4), torch.randn(7, 4), torch.randn(7, 4))


@case(14 * 12 * 36 + 2 * 49 * 24 + 14 * 12 * 12)
def multi_head_train() -> Program:
    """12 to 36 for 14 vectors; 49 pairs of 2 samples times 12 + 12 over all heads; 12 to 12."""
    return _SelfAttention().train(), (torch.randn(2, 7, 12),)


@case(14 * 12 * 36 + 2 * 49 * 24 + 14 * 12 * 12)
def multi_head_eval() -> Program:
    """The same through torch's fast path."""
    return _SelfAttention().eval(), (torch.randn(2, 7, 12),)


@case(14 * 12 * 36 + 2 * 49 * 24 + 14 * 12 * 12)
def multi_head_without_weights() -> Program:
    """need_weights=False takes the fused kernel."""
    return _SelfAttention(need_weights=False).eval(), (torch.randn(2, 7, 12),)


@case(14 * 12 * 36 + 2 * 28 * 24 + 14 * 12 * 12)
def multi_head_causal() -> Program:
    """is_causal: 28 pairs of 49."""
    return _SelfAttention(need_weights=False, causal=True).eval(), (torch.randn(2, 7, 12),)


class _SelfAttention(nn.Module):
    def __init__(self, need_weights: bool = True, causal: bool = False) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.need_weights, self.causal = need_weights, causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.causal else None
        return self.attention(x, x, x, need_weights=self.need_weights, attn_mask=mask, is_causal=self.causal)[0]


class _CrossAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, kdim=5, vdim=6)

    def forward(self, x: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return self.attention(x, k, v)[0]


@case(6 * 12 * 12 + 14 * 5 * 12 + 14 * 6 * 12 + 2 * 21 * 24 + 6 * 12 * 12)
def multi_head_cross_sizes() -> Program:
    """3 queries of 12; 7 keys of 5 and values of 6, projected each on its own; 21 pairs; the output projection."""
    return _CrossAttention(), (torch.randn(3, 2, 12), torch.randn(7, 2, 5), torch.randn(7, 2, 6))


@case(14 * 12 * 36 + 2 * 49 * 24 + 14 * 12 * 12 + 2 * 14 * 12 * 20)
def transformer_encoder_layer_train() -> Program:
    """Self-attention, then 12 to 20 and back."""
    return nn.TransformerEncoderLayer(12, 3, 20, batch_first=True).train(), (torch.randn(2, 7, 12),)


@case(14 * 12 * 36 + 2 * 49 * 24 + 14 * 12 * 12 + 2 * 14 * 12 * 20)
def transformer_encoder_layer_eval() -> Program:
    """The same through torch's fast path."""
    return nn.TransformerEncoderLayer(12, 3, 20, batch_first=True).eval(), (torch.randn(2, 7, 12),)


@case(2 * (14 * 12 * 36 + 2 * 49 * 24 + 14 * 12 * 12 + 2 * 14 * 12 * 20))
def transformer_encoder_eval() -> Program:
    """Two layers."""
    layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), (torch.randn(2, 7, 12),)


@case(
    (6 * 12 * 36 + 2 * 9 * 24 + 6 * 12 * 12)
    + (6 * 12 * 12 + 14 * 12 * 24 + 2 * 21 * 24 + 6 * 12 * 12)
    + 2 * 6 * 12 * 20
)
def transformer_decoder_layer() -> Program:
    """Self-attention of 3 positions; 3 queries on 7 encoded ones; 12 to 20 and back."""
    return nn.TransformerDecoderLayer(12, 3, 20, batch_first=True).eval(), (
        torch.randn(2, 3, 12),
        torch.randn(2, 7, 12),
    )


def _flexible(mask: Any = None, score: Any = None) -> Program:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    blocks = create_block_mask(mask, None, None, 6, 6, device="cpu") if mask is not None else None

    def program(q: torch.Tensor) -> torch.Tensor:
        return flex_attention(q, q, q, score_mod=score, block_mask=blocks)

    return program, (torch.randn(2, 4, 6, 8),)


@case(8 * 21 * (8 + 8))
def flex_attention_causal() -> Program:
    """8 heads, 6 * 7 / 2 pairs."""
    return _flexible(lambda _b, _h, query, key: query >= key)


@case(8 * 18 * (8 + 8))
def flex_attention_by_document() -> Program:
    """Two documents of three: 9 pairs in each."""
    document = torch.tensor([0, 0, 0, 1, 1, 1])
    return _flexible(lambda _b, _h, query, key: document[query] == document[key])


@case(8 * 36 * (8 + 8), kinds=None)
def flex_attention_with_positions() -> Program:
    """Every pair, its distance added to its score."""
    return _flexible(score=lambda score, _b, _h, query, key: score + (query - key))
