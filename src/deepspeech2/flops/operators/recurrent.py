"""Recurrent layers as kernels of a vendor, as TorchScript, exported programs and function transforms hold them."""

from __future__ import annotations

from deepspeech2.flops.formulas.recurrences import Cell, needed_cell_gradient, torch_cell
from deepspeech2.flops.operations import OperationCount
from deepspeech2.flops.registry import Call, register_formula

_MODES = {0: "rnn_relu", 1: "rnn_tanh", 2: "lstm", 3: "gru"}


def _kind(call: Call) -> str:
    kind = _MODES.get(call["mode"])
    if kind is None:
        raise NotImplementedError(f"recurrent mode {call['mode']}")
    return kind


@register_formula("aten::mkldnn_rnn_layer")
def _mkldnn_layer(call: Call) -> OperationCount:
    """One direction of one layer."""
    sequence, size = call["input"], call["hidden_size"]
    rows, projected = sequence.shape[0] * sequence.shape[1], call["weight1"].last
    projection = projected if projected != size else 0
    return torch_cell(_kind(call), rows, sequence.last, size, bias=bool(call["has_biases"]), projection=projection)


@register_formula("aten::mkldnn_rnn_layer_backward")
def _mkldnn_layer_backward(call: Call) -> OperationCount:
    """One direction of one layer; of the input, four weights, the initial state and cell those that need a gradient."""
    sequence, size, states = call["input"], call["hidden_size"], call["hx_"]
    rows, projected = sequence.shape[0] * sequence.shape[1], call["weight2"].last
    needed = call.get("output_mask", (True,) * 7)
    projection = projected if projected != size else 0
    cell = Cell(_kind(call), rows, sequence.last, size, bool(call["has_biases"]), projection)
    asked = needed[0], any(needed[5:]), any(needed[1:5])
    return needed_cell_gradient(cell, states.elements // states.last, asked)
