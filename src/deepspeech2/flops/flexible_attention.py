"""Attention with scores and masks that are programs: torch's flex_attention (which has no backward pass on a CPU).

Which pairs meet is found by running the mask on all positions; what the program does to a score is counted once and
charged for every pair that meets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_map_only

from deepspeech2.flops.formulas.attention import Attention, attention
from deepspeech2.flops.known_values import known_value
from deepspeech2.flops.operations import Number, OperationCount, total_of
from deepspeech2.flops.recorder import Recorder, specification
from deepspeech2.flops.registry import Call

_MOST_PAIRS = 1 << 26


def flex_attention(
    recorder: Recorder,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *rest: Any,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Count the forward pass; `rest` is the change of scores, the block mask, and what both of them read."""
    score_mod, block_mask, _scale, _options, *buffers = rest
    score_buffers, mask_buffers = (*buffers, (), ())[:2]
    sizes = _sizes(recorder, (query, key, value), block_mask, mask_buffers)
    with recorder.silence():
        results = (
            query.new_empty((*query.shape[:-1], value.shape[-1])),
            query.new_empty(query.shape[:-1]),
            query.new_empty(query.shape[:-1]),
        )
    if sizes is not None:
        each = _measured(recorder, score_mod, query, score_buffers)
        _record(recorder, "flex_attention", attention(sizes) + each * sizes.all_pairs, (query, key, value), results)
    return results


def _record(
    recorder: Recorder, name: str, count: OperationCount, tensors: Sequence[Any], results: Sequence[Any]
) -> None:
    arguments = {str(index): specification(tensor, int) for index, tensor in enumerate(tensors)}
    outputs = tuple(specification(result, int) for result in results)
    recorder.record(Call(f"torch::{name}", arguments, outputs), rule=lambda _: count)


def _sizes(
    recorder: Recorder, tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor], block_mask: Any, buffers: Any
) -> Attention | None:
    """The attention's sizes with the pairs its mask allows, or None where these are not known."""
    query, key, value = tensors
    if any(isinstance(size, torch.SymInt) for tensor in tensors for size in tensor.shape):
        recorder.record_unknown("flex_attention", "its mask is a program, and sizes are symbols")
        return None
    allowed = _allowed(block_mask, (query.shape[-2], key.shape[-2]), buffers)
    if allowed is None:
        recorder.record_unknown("flex_attention", "which pairs its mask allows depends on values")
        return None
    heads = query.shape[0] * query.shape[1]
    # The mask is the same for the samples and heads it does not ask for.
    repeats = heads // (allowed.shape[0] * allowed.shape[1])
    with _disable_current_modes():
        counts: list[Number] = [int(found.sum()) * repeats for found in (allowed, allowed.any(-1), allowed.any(-2))]
    return Attention(
        heads=heads,
        queries=query.shape[-2],
        keys=key.shape[-2],
        key_size=query.shape[-1],
        value_size=value.shape[-1],
        allowed=counts[0],
        active=counts[1],
        seen=counts[2],
    )


def _allowed(block_mask: Any, positions: tuple[int, int], buffers: Any) -> torch.Tensor | None:
    """The mask on all pairs of positions, for as many samples and heads as it distinguishes."""
    mask, blocks = block_mask[-1], next(item for item in block_mask if isinstance(item, torch.Tensor))
    samples, heads = blocks.shape[0], blocks.shape[1]
    known = tree_map_only(torch.Tensor, known_value, tuple(buffers))
    if samples * heads * positions[0] * positions[1] > _MOST_PAIRS or any(buffer is None for buffer in known):
        return None
    with _disable_current_modes(), torch.no_grad():
        ranges = [torch.arange(size) for size in (samples, heads, *positions)]
        indices = [r.reshape([-1 if axis == own else 1 for axis in range(4)]) for own, r in enumerate(ranges)]
        try:
            found = mask(*indices, *known)
            return torch.as_tensor(found).expand(samples, heads, *positions)
        except Exception:  # a mask may be any program; one that only takes single positions is not known
            return None


def _measured(recorder: Recorder, program: Any, query: torch.Tensor, buffers: Sequence[Any]) -> OperationCount:
    """What a change of scores costs for one pair."""
    with recorder.silence():
        score = query.new_empty(())
        places = [query.new_empty((), dtype=torch.int32) for _ in range(4)]
    with TransformGetItemToIndex(), recorder.measured() as counts:
        program(score, *places, *buffers)
    return total_of(counts)
