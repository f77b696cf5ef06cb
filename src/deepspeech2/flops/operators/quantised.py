"""Layers with 8-bit weights, their inputs quantised before or as they come: integer products, floating-point edges."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from deepspeech2.flops.formulas.products import dot_products, fully_connected
from deepspeech2.flops.formulas.quantised import descaled, dynamic_linear, dynamic_quantisation, requantised
from deepspeech2.flops.formulas.recurrences import torch_cell
from deepspeech2.flops.operations import NOTHING, Number, OperationCount, total_of
from deepspeech2.flops.operators.convolutions import convolution_of
from deepspeech2.flops.operators.pointwise import PER_ELEMENT
from deepspeech2.flops.quantised_tensors import packed_weight
from deepspeech2.flops.registry import Call, TensorSpec, register_formula


def _has_bias(packed: Any) -> bool:
    with _disable_current_modes():
        return packed.bias() is not None


def _samples(call: Call) -> Number:
    inputs = call["X"].last
    elements = call["X"].elements
    return elements // inputs if isinstance(elements, int) and isinstance(inputs, int) else elements / inputs


@register_formula("quantized::linear_dynamic", "quantized::linear_relu_dynamic")
def _linear(call: Call) -> OperationCount:
    sizes = (_samples(call), call["X"].last, call.output.last)
    count = dynamic_linear(*sizes, bias=_has_bias(call["W_prepack"]))
    return count + OperationCount(compare=call.output.elements if "relu" in call.operator else 0)


@register_formula("quantized::linear_dynamic_fp16", "quantized::linear_relu_dynamic_fp16")
def _half_linear(call: Call) -> OperationCount:
    # Weights are stored in half precision; the arithmetic is floating-point.
    count = fully_connected(_samples(call), call["X"].last, call.output.last, bias=_has_bias(call["W_prepack"]))
    return count + OperationCount(compare=call.output.elements if "relu" in call.operator else 0)


@register_formula(
    *[f"quantized::quantized_{kind}_cell_dynamic" for kind in ("lstm", "gru", "rnn_relu", "rnn_tanh")],
)
def _cell(call: Call) -> OperationCount:
    """Input and state quantised, a product of each; the cell itself in floating point."""
    kind = call.operator.removeprefix("quantized::quantized_").removesuffix("_cell_dynamic")
    gates = {"lstm": 4, "gru": 3}.get(kind, 1)
    data, size = call["input"], call.output.last
    rows: Number = call.output.elements // size
    bias = call.get("bias_ih" if kind == "lstm" else "b_ih") is not None
    products = dynamic_linear(rows, data.last, gates * size, bias=bias)
    return products + dynamic_linear(rows, size, gates * size, bias=bias) + _without_products(kind, rows, size)


def _without_products(kind: str, rows: Number, size: Number) -> OperationCount:
    """A recurrent cell but for its products and biases."""
    cell = torch_cell(kind, rows, size, size, bias=False)
    return cell + fully_connected(rows, size, {"lstm": 4, "gru": 3}.get(kind, 1) * size, bias=False) * -2


@register_formula("aten::quantized_lstm", "aten::quantized_gru")
def _recurrent(call: Call) -> OperationCount:
    """Per layer and direction: inputs quantised once, the state at every step; the cell itself in floating point.

    In a packed sequence a step has as many samples as are still running.
    """
    kind = "lstm" if "lstm" in call.operator else "gru"
    gates = {"lstm": 4, "gru": 3}[kind]
    sequence, running = _sequence(call)
    states = call["hx"]
    size = (states[0] if isinstance(states, list) else states).last
    bias = bool(call["has_biases"])
    directions = 2 if call["bidirectional"] else 1
    rows = sum(samples * steps for samples, steps in running)
    rest = _without_products(kind, rows, size)
    count = NOTHING
    for layer in range(call["num_layers"]):
        inputs = sequence.last if layer == 0 else directions * size
        recurrent = total_of(
            dynamic_linear(samples, size, gates * size, bias=bias) * steps for samples, steps in running
        )
        each = dynamic_linear(rows, inputs, gates * size, bias=bias) + recurrent + rest
        count = count + each * directions
    return count


def _sequence(call: Call) -> tuple[TensorSpec, list[tuple[Number, Number]]]:
    """What goes in, and how many samples run for how many steps."""
    sizes = call.get("batch_sizes")
    if sizes is None:
        sequence: TensorSpec = call["input"]
        batch, steps = sequence.shape[:2] if call["batch_first"] else (sequence.shape[1], sequence.shape[0])
        return sequence, [(batch, steps)]
    if sizes.value is None:
        raise NotImplementedError("a packed sequence whose lengths are computed")
    with _disable_current_modes():
        return call["data"], list(Counter(sizes.value.tolist()).items())


# Quantised on both sides ---------------------------------------------------------------------------------------


@register_formula(*[f"quantized::linear{end}" for end in ("", "_relu", "_leaky_relu", "_tanh")])
def _static_linear(call: Call) -> OperationCount:
    weight, results = packed_weight(call["W_prepack"]), call.output.elements
    rows, length = weight.shape
    count = requantised(dot_products(results, length), results, rows, bias=weight.biased)
    # A ReLU is the lower of the two limits, a leaky one a second scale: a comparison says which.
    leaky = OperationCount(compare=results if "leaky" in call.operator else 0)
    return count + leaky + OperationCount(tanh=results if "tanh" in call.operator else 0)


@register_formula(
    *[f"quantized::conv{axes}d{end}" for axes in (1, 2, 3) for end in ("", "_relu", "_dynamic")],
    *[f"quantized::conv_transpose{axes}d{end}" for axes in (1, 2, 3) for end in ("", "_dynamic")],
)
def _convolution(call: Call) -> OperationCount:
    """Products as those of the convolution; with dynamic quantisation, inputs quantised by their own range first."""
    weight, results = packed_weight(call["packed_weight"]), call.output.elements
    image, output = (_with_axis(one) if len(one.shape) == 3 else one for one in (call["qx"], call.output))
    arguments = {**weight.options, "input": image, "weight": TensorSpec(weight.shape, torch.qint8)}
    product = convolution_of(Call("aten::convolution", arguments, (output,)))
    rows = output.shape[1]
    if "dynamic" in call.operator:
        return dynamic_quantisation(image.elements) + descaled(product, results, rows, bias=weight.biased)
    return requantised(product, results, rows, bias=weight.biased)


def _with_axis(image: TensorSpec) -> TensorSpec:
    """A sequence as an image of one row, as the kernel takes it."""
    return TensorSpec((*image.shape[:2], 1, image.shape[2]), image.dtype)


@register_formula("quantized::embedding_byte", "quantized::embedding_4bit")
def _embedding(call: Call) -> OperationCount:
    """Rows of integers back to floating point: times a scale, plus an offset."""
    return OperationCount(multiply=1, add=1) * call.output.elements


@register_formula("quantized::relu6")
def _clipped(call: Call) -> OperationCount:
    return OperationCount(integer=2 * call.output.elements)


# As converted graphs spell them, with tensors of integers.
@register_formula(*[f"quantized_decomposed::quantize_per_{what}" for what in ("tensor", "channel", "token")])
def _quantised(call: Call) -> OperationCount:
    return PER_ELEMENT["quantize_per_tensor"] * call.output.elements


@register_formula(*[f"quantized_decomposed::dequantize_per_{what}" for what in ("tensor", "channel", "token")])
def _dequantised(call: Call) -> OperationCount:
    return PER_ELEMENT["dequantize"] * call.output.elements
