"""Which gradients a backward kernel is asked for, where its arguments do not say: autograd's graph does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from deepspeech2.flops.registry import Call

# Kernels that return every gradient, with autograd's name for the node that calls them.
_NODES = {
    "aten::mkldnn_rnn_layer_backward": "MkldnnRnnLayerBackward0",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": "ScaledDotProductFlashAttentionForCpuBackward0",
    "aten::_scaled_dot_product_flash_attention_backward": "ScaledDotProductFlashAttentionBackward0",
    "aten::_scaled_dot_product_efficient_attention_backward": "ScaledDotProductEfficientAttentionBackward0",
    "aten::_scaled_dot_product_cudnn_attention_backward": "ScaledDotProductCudnnAttentionBackward0",
}


def with_output_mask(call: Call) -> Call:
    """The call with an `output_mask`: for each differentiable argument of the forward, whether its gradient is used.

    Calls of other operators, and calls that autograd does not make, are returned as they are.
    """
    expected = _NODES.get(call.operator)
    node = torch._C._current_autograd_node() if expected is not None else None
    if node is None or node.name() != expected:
        return call
    mask = tuple(_is_reached(following) for following, _ in node.next_functions)
    return replace(call, arguments={**call.arguments, "output_mask": mask})


def needed_by_engine(node: Any, arguments: Sequence[torch.Tensor | None]) -> tuple[bool, ...]:
    """Of a node in Python, while it runs: for each argument of its function, whether its gradient is used."""
    following = iter(node.next_functions)
    # Only tensors have a place in the graph.
    return tuple(tensor is not None and _is_reached(next(following)[0]) for tensor in arguments)


def _is_reached(node: Any) -> bool:
    """Whether the running backward pass goes on to a node: `torch.autograd.grad` goes to what it is asked for only."""
    if node is None:
        return False
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:
        # A leaf whose gradient `torch.autograd.grad` returns, of which torch does not answer.
        return True
