"""RNN, GRU and LSTM: one direction or two, any activations, with or without biases, peepholes and lengths."""

from __future__ import annotations

from typing import Any

from deepspeech2.flops.formulas.activations import sigmoid
from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula

_Each = OperationCount
_ACTIVATIONS = {
    "relu": _Each(compare=1),
    "tanh": _Each(tanh=1),
    "sigmoid": sigmoid(1),
    # alpha x + beta
    "affine": _Each(multiply=1, add=1),
    "leakyrelu": _Each(compare=1, multiply=1),
    "thresholdedrelu": _Each(compare=1),
    # alpha tanh(beta x)
    "scaledtanh": _Each(multiply=2, tanh=1),
    "hardsigmoid": _Each(multiply=1, add=1, compare=2),
    "elu": _Each(compare=1, exp=1, add=1, multiply=1),
    "softsign": _Each(other=1, add=1, divide=1),
    "softplus": _Each(exp=1, add=1, log=1),
}
_DEFAULTS = {"RNN": ["tanh"], "GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"]}
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
# How often each activation of a direction is applied, per cell: f, g, h.
_USES = {"RNN": [1], "GRU": [2, 1], "LSTM": [3, 1, 1]}
# Arithmetic of a cell beside products, biases and activations; sums of input and recurrent part included.
_GLUE = {
    "RNN": _Each(add=1),
    # r * h; h = n + z * (h - n)
    "GRU": _Each(add=3 + 2, multiply=2),
    # c = f * c + i * g; h = o * tanh(c)
    "LSTM": _Each(add=4 + 1, multiply=3),
}
_PEEPHOLES = 3


@register_formula("onnx::RNN", "onnx::GRU", "onnx::LSTM")
def _recurrent_layer(call: Call) -> OperationCount:
    """Every step of every direction, as torch's cells are counted.

    Algorithm: per gate x W + Wb and h R + Rb, the first step included since its state is an input; their sum; then as
    `torch_cell`. `linear_before_reset` moves r * h behind the product and changes no number. A `clip` is two
    comparisons for every argument of an activation, a peephole a product and a sum per cell. Where `sequence_lens` is
    known, each utterance has its own number of steps.
    """
    kind = call.operator.partition("::")[2]
    data, recurrent = call["X"], call["R"]
    directions, size = recurrent.shape[0], recurrent.shape[-1]
    if kind == "LSTM" and call.get("input_forget"):
        raise NotImplementedError("an input gate coupled to the forget gate")
    rows = _rows(call, data)
    cells = rows * size
    gates = _GATES[kind] * cells
    bias = call.get("B") is not None
    products = dot_products(gates, data.shape[-1], bias=bias) + dot_products(gates, size, bias=bias)
    count: OperationCount = (products + _GLUE[kind] * cells) * directions
    for activation, uses in _activations(call, kind, int(directions)):
        count = count + activation * (uses * cells)
        if call.get("clip"):
            count = count + OperationCount(compare=2) * (uses * cells)
    if call.get("P") is not None:
        count = count + OperationCount(multiply=_PEEPHOLES, add=_PEEPHOLES) * (cells * directions)
    return count


def _rows(call: Call, data: TensorSpec) -> Number:
    """Samples times steps, or the sum of the lengths where they are known."""
    lengths = call["values"].get("sequence_lens")
    steps = data.shape[1 if call.get("layout") else 0]
    if lengths is None:
        return data.shape[0] * data.shape[1]
    return sum(min(max(0, int(length)), steps) for length in lengths.reshape(-1))


def _activations(call: Call, kind: str, directions: int) -> list[tuple[OperationCount, int]]:
    """Price and uses per cell of each activation of each direction."""
    names: list[Any] = call.get("activations") or _DEFAULTS[kind] * directions
    if len(names) != directions * len(_USES[kind]):
        raise NotImplementedError(f"{len(names)} activations for {directions} directions")
    unknown = [name for name in names if name.lower() not in _ACTIVATIONS]
    if unknown:
        raise NotImplementedError(f"the activation {unknown[0]}")
    prices = [_ACTIVATIONS[name.lower()] for name in names]
    return list(zip(prices, _USES[kind] * directions, strict=True))
