"""Which gradients a backward kernel is asked for, where its arguments do not say: autograd's graph does."""

from __future__ import annotations

from dataclasses import replace

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
    mask = tuple(following is not None for following, _ in node.next_functions)
    return replace(call, arguments={**call.arguments, "output_mask": mask})
