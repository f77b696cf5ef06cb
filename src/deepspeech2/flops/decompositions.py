"""Fused kernels that stand for several operators, spelled out: torch's fast paths of attention and encoder layers.

TorchScript and exported programs may hold these kernels; what they compute is counted as the operators they fuse. Any
other operator without a formula is counted by torch's reference definition, where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch._decomp import decomposition_table
from torch._subclasses.fake_tensor import DynamicOutputShapeException
from torch.nn import functional

from deepspeech2.flops.known_values import known_value
from deepspeech2.flops.quantised_tensors import COMPUTED

_aten = torch.ops.aten


def _heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(batch, positions, size) to (batch, heads, positions, size / heads)."""
    split: torch.Tensor = x.unflatten(-1, (heads, -1))
    return split.transpose(1, 2)


def _allowed(mask: torch.Tensor | None, mask_type: int | None) -> torch.Tensor | None:
    """A mask that is true where attention is forbidden, as one that is true where it is allowed."""
    if mask is None:
        return None
    allowed = mask.logical_not()
    # 0: (queries, keys); 1: (batch, keys), padding; 2: (batch, heads, queries, keys).
    return allowed[:, None, None, :] if mask_type == 1 else allowed


def _named(func: Any, args: Any, kwargs: Any) -> SimpleNamespace:
    """The arguments of a call by the names of the operator's schema, defaults filled in."""
    arguments = func._schema.arguments
    values = {argument.name: argument.default_value for argument in arguments if argument.has_default_value()}
    values.update(zip([argument.name for argument in arguments], args, strict=False))
    return SimpleNamespace(**{**values, **kwargs})


def _multi_head_attention(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
    call = _named(_aten._native_multi_head_attention.default, args, kwargs)
    heads = call.num_head
    projections = zip((call.query, call.key, call.value), call.qkv_weight.chunk(3), call.qkv_bias.chunk(3), strict=True)
    q, k, v = (_heads(functional.linear(x, weight, bias), heads) for x, weight, bias in projections)
    allowed = _allowed(call.mask, call.mask_type)
    if call.need_weights:
        scores = (q * (call.embed_dim // heads) ** -0.5) @ k.transpose(-2, -1)
        if allowed is not None:
            scores = scores.masked_fill(allowed.logical_not(), float("-inf"))
        shares = torch.softmax(scores, dim=-1)
        mixed = shares @ v
        returned = shares.mean(1) if call.average_attn_weights else shares
    else:
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        returned = call.query.new_empty(0)
    return functional.linear(mixed.transpose(1, 2).flatten(2), call.proj_weight, call.proj_bias), returned


def _encoder_layer(*args: Any, **kwargs: Any) -> torch.Tensor:
    call = _named(_aten._transformer_encoder_layer_fwd.default, args, kwargs)

    def attend(x: torch.Tensor) -> torch.Tensor:
        weights = (call.qkv_weight, call.qkv_bias, call.proj_weight, call.proj_bias)
        options = {"mask": call.mask, "need_weights": False, "mask_type": call.mask_type}
        return _multi_head_attention(x, x, x, call.embed_dim, call.num_heads, *weights, **options)[0]

    def feed_forward(x: torch.Tensor) -> torch.Tensor:
        inner = functional.linear(x, call.ffn_weight_1, call.ffn_bias_1)
        active = functional.gelu(inner) if call.use_gelu else functional.relu(inner)
        return functional.linear(active, call.ffn_weight_2, call.ffn_bias_2)

    def first(x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, (call.embed_dim,), call.norm_weight_1, call.norm_bias_1, call.eps)

    def second(x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, (call.embed_dim,), call.norm_weight_2, call.norm_bias_2, call.eps)

    src: torch.Tensor = call.src
    if call.norm_first:
        x = src + attend(first(src))
        return x + feed_forward(second(x))
    x = first(src + attend(src))
    return second(x + feed_forward(x))


def _masked_select(tensor: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Elements where a mask is true: as many as it says, where the trace knows its values."""
    if known_value(mask) is None:
        raise DynamicOutputShapeException(_aten.masked_select.default)
    shape = torch.broadcast_shapes(tensor.shape, mask.shape)
    positions = mask.expand(shape).nonzero()
    return tensor.expand(shape)[positions.unbind(-1)]


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    _aten._native_multi_head_attention.default: _multi_head_attention,
    _aten._transformer_encoder_layer_fwd.default: _encoder_layer,
    _aten.masked_select.default: _masked_select,
    **COMPUTED,
}


def reference_decomposition(func: Any) -> Callable[..., Any] | None:
    """Torch's own definition of an operator by simpler ones, the algorithm an operator without a formula is counted by.

    An operator that writes in place has the definition of the one that returns a new tensor.
    """
    found = decomposition_table.get(func)
    if found is None and func._schema.is_mutable and func._opname.endswith("_"):
        packet = getattr(getattr(torch.ops, func.namespace), func._opname[:-1], None)
        functional_operator = getattr(packet, func._overloadname, None) if packet is not None else None
        if functional_operator is not None:
            found = decomposition_table.get(functional_operator)
    return found
