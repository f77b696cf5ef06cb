"""Recurrent layers as kernels of a vendor, as TorchScript and exported programs hold them."""

from __future__ import annotations

from deepspeech2.flops.formulas.recurrences import torch_cell, torch_cell_gradient
from deepspeech2.flops.operations import OperationCount
from deepspeech2.flops.registry import Call, register_formula

_MODES = {0: "rnn_relu", 1: "rnn_tanh", 2: "lstm", 3: "gru"}


@register_formula("aten::mkldnn_rnn_layer", "aten::mkldnn_rnn_layer_backward")
def _mkldnn_layer(call: Call) -> OperationCount:
    """One direction of one layer."""
    formula = torch_cell_gradient if call.operator.endswith("backward") else torch_cell
    kind = _MODES.get(call["mode"])
    if kind is None:
        raise NotImplementedError(f"recurrent mode {call['mode']}")
    sequence = call["input"]
    rows = sequence.shape[0] * sequence.shape[1]
    size = call["hidden_size"]
    projected = call["weight2" if formula is torch_cell_gradient else "weight1"].last
    return formula(
        kind, rows, sequence.last, size, bias=bool(call["has_biases"]), projection=projected if projected != size else 0
    )
