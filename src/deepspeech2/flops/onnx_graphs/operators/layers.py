"""Convolutions, normalisations, pooling, resampling, attention."""

from __future__ import annotations

from math import prod
from typing import Any

from deepspeech2.flops.formulas.attention import Attention, attention
from deepspeech2.flops.formulas.convolutions import Convolution, Window, convolution, transposed_convolution
from deepspeech2.flops.formulas.normalisation import (
    batch_norm_inference,
    normalised,
    rms_normalised,
    running_statistics,
)
from deepspeech2.flops.formulas.resampling import GridSampling, grid_sampling
from deepspeech2.flops.formulas.spectral import complex_fft, real_fft
from deepspeech2.flops.onnx_graphs.operators.as_torch import count_as, quotient
from deepspeech2.flops.operations import NOTHING, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula


@register_formula("onnx::Conv", "onnx::ConvInteger", "onnx::QLinearConv")
def _convolution(call: Call) -> OperationCount:
    quantised = call.operator != "onnx::Conv"
    image: TensorSpec = call["x" if quantised else "X"]
    weight: TensorSpec = call["w" if quantised else "W"]
    groups = call.get("group", 1)
    windows = _windows(call, image.shape[2:], weight.shape[2:], call.output.shape[2:])
    sizes = Convolution(image.shape[0], int(image.shape[1]), int(weight.shape[0]), windows, groups)
    count = convolution(sizes, bias=call.get("B") is not None)
    if not quantised:
        return count
    integers = OperationCount(integer=count.total, macs=count.macs, padding_macs=count.padding_macs)
    if call.operator == "onnx::ConvInteger":
        return integers
    # Every element is rounded to its scale.
    return integers + OperationCount(multiply=1, other=1, compare=2, integer=1) * call.output.elements


@register_formula("onnx::ConvTranspose")
def _transposed_convolution(call: Call) -> OperationCount:
    image, weight, groups = call["X"], call["W"], call.get("group", 1)
    windows = _windows(call, call.output.shape[2:], weight.shape[2:], image.shape[2:], transposed=True)
    # The convolution whose gradient this is: from the result to the input.
    sizes = Convolution(image.shape[0], int(weight.shape[1]) * groups, int(weight.shape[0]), windows, groups)
    return transposed_convolution(sizes, bias=call.get("B") is not None)


def _windows(call: Call, sizes: Any, kernel: Any, outputs: Any, *, transposed: bool = False) -> list[Window]:
    """One window per axis; `outputs` are the positions it takes."""
    axes = len(kernel)
    strides, dilations = (call.get(name) or [1] * axes for name in ("strides", "dilations"))
    pads = call.get("pads") or [0] * (2 * axes)
    extra = call.get("output_padding") or [0] * axes
    mode = call.get("auto_pad", "NOTSET")
    automatic = mode.startswith("SAME") or (transposed and call.get("output_shape") is not None)
    windows = []
    for axis in range(axes):
        # Output padding is padding that the convolution a transposed one undoes does without.
        before, after = pads[axis], pads[axis + axes] - (extra[axis] if transposed else 0)
        if automatic:
            # As much padding as the positions need; the odd one goes in front for SAME_LOWER.
            reach = (outputs[axis] - 1) * strides[axis] + dilations[axis] * (kernel[axis] - 1) + 1
            total = max(0, reach - sizes[axis])
            before = (total + 1) // 2 if mode == "SAME_LOWER" else total // 2
            after = total - before
        elif mode == "VALID":
            before = after = 0
        windows.append(Window(sizes[axis], int(kernel[axis]), strides[axis], before, after, dilations[axis]))
    return windows


@register_formula("onnx::BatchNormalization")
def _batch_norm(call: Call) -> OperationCount:
    image: TensorSpec = call["X"]
    channels = image.shape[1] if len(image.shape) > 1 else 1
    if not call.get("training_mode"):
        return batch_norm_inference(image.elements, channels)
    length = quotient(image.elements, channels)
    return normalised(channels, length, scale=True, shift=True) + running_statistics(channels)


@register_formula("onnx::InstanceNormalization")
def _instance_norm(call: Call) -> OperationCount:
    image: TensorSpec = call["input"]
    groups = image.shape[0] * image.shape[1]
    return normalised(groups, quotient(image.elements, groups), scale=True, shift=True)


@register_formula("onnx::GroupNormalization")
def _group_norm(call: Call) -> OperationCount:
    image: TensorSpec = call["X"]
    groups = image.shape[0] * call["num_groups"]
    return normalised(groups, quotient(image.elements, groups), scale=True, shift=True)


@register_formula("onnx::LayerNormalization")
def _layer_norm(call: Call) -> OperationCount:
    image: TensorSpec = call["X"]
    length = prod(image.shape[call.get("axis", -1) :])
    shifted = call.get("B") is not None
    return normalised(quotient(image.elements, length), length, scale=True, shift=shifted)


@register_formula("onnx::RMSNormalization")
def _rms_norm(call: Call) -> OperationCount:
    image: TensorSpec = call["X"]
    length = prod(image.shape[call.get("axis", -1) :])
    return rms_normalised(quotient(image.elements, length), length, scale=True)


@register_formula("onnx::LpNormalization")
def _lp_norm(call: Call) -> OperationCount:
    """X / norm(x) along one axis."""
    image: TensorSpec = call["input"]
    rows = quotient(image.elements, image.shape[call.get("axis", -1)])
    merged = image.elements - rows
    if call.get("p", 2) == 1:
        return OperationCount(other=image.elements, add=merged, divide=image.elements)
    return OperationCount(multiply=image.elements, add=merged, sqrt=rows, divide=image.elements)


@register_formula("onnx::LRN")
def _local_response_norm(call: Call) -> OperationCount:
    """X / (bias + alpha / size * sum of squares of `size` channels) ** beta, every sum at its full length."""
    elements, size = call.output.elements, call["size"]
    return OperationCount(multiply=2, add=1, other=1, divide=1) * elements + OperationCount(add=elements * (size - 1))


@register_formula("onnx::MaxPool")
def _max_pool(call: Call) -> OperationCount:
    return OperationCount(compare=call.output.elements * (prod(call["kernel_shape"]) - 1))


@register_formula("onnx::AveragePool")
def _average_pool(call: Call) -> OperationCount:
    outputs = call.output.elements
    return OperationCount(add=outputs * (prod(call["kernel_shape"]) - 1), divide=outputs)


@register_formula("onnx::LpPool")
def _lp_pool(call: Call) -> OperationCount:
    outputs, taps = call.output.elements, prod(call["kernel_shape"])
    if call.get("p", 2) != 2:
        raise NotImplementedError("only the norm of order 2 is counted")
    return OperationCount(multiply=outputs * taps, add=outputs * (taps - 1), sqrt=outputs)


@register_formula("onnx::Resize")
def _resize(call: Call) -> OperationCount:
    mode = call.get("mode", "nearest")
    if mode == "nearest":
        return NOTHING
    pairs = zip(call["X"].shape, call.output.shape, strict=True)
    # Batch and channels keep their size.
    axes = max((len(call.output.shape) - index for index, (a, b) in enumerate(pairs) if a != b), default=0)
    names = {1: "upsample_linear1d", 2: "upsample_bilinear2d", 3: "upsample_trilinear3d"}
    if mode != "linear" or axes not in names or call.get("antialias"):
        raise NotImplementedError(f"resizing in mode {mode!r} over {axes} axes")
    return count_as(names[axes], call)


@register_formula("onnx::Attention")
def _attention(call: Call) -> OperationCount:
    """Scaled dot-product attention of opset 23: (batch, heads, positions, size), or heads inside the last axis."""
    query, key, value = (call[name].shape for name in ("Q", "K", "V"))
    if call.get("past_key") is not None or call.get("softcap"):
        raise NotImplementedError("a cache of earlier keys, or capped scores")
    heads = query[1] if len(query) == 4 else call["q_num_heads"]
    key_heads = key[1] if len(key) == 4 else call["kv_num_heads"]
    mask = call.get("attn_mask")
    return attention(
        Attention(
            heads=query[0] * heads,
            queries=query[-2],
            keys=key[-2],
            key_size=query[-1] if len(query) == 4 else query[-1] // heads,
            value_size=value[-1] if len(value) == 4 else value[-1] // key_heads,
            causal=bool(call.get("is_causal")),
            bias=mask is not None and mask.is_floating,
        )
    )


_GRID_MODES = {"linear": "bilinear", "cubic": "bicubic"}


@register_formula("onnx::GridSample")
def _grid_sample(call: Call) -> OperationCount:
    image, grid = call["X"], call["grid"]
    axes = grid.shape[-1]
    mode = call.get("mode", "linear")
    return grid_sampling(
        GridSampling(
            positions=quotient(grid.elements, axes),
            channels=image.shape[1],
            axes=int(axes),
            mode=_GRID_MODES.get(mode, mode),
            padding=call.get("padding_mode", "zeros"),
        )
    )


@register_formula("onnx::Col2Im")
def _fold(call: Call) -> OperationCount:
    return OperationCount(add=call["input"].elements)


@register_formula("onnx::GlobalLpPool")
def _global_lp_pool(call: Call) -> OperationCount:
    image, outputs = call["X"], call.output.elements
    if call.get("p", 2) != 2:
        raise NotImplementedError("only the norm of order 2 is counted")
    return OperationCount(multiply=image.elements, add=image.elements - outputs, sqrt=outputs)


@register_formula("onnx::Det")
def _determinant(call: Call) -> OperationCount:
    return count_as("_linalg_det", call, A=call["X"])


@register_formula("onnx::DFT")
def _fourier_transform(call: Call) -> OperationCount:
    """One axis, real (a last axis of one) or complex; modelled. Half a spectrum is that of a real signal."""
    signal: TensorSpec = call["input"]
    known = call["values"].get("axis")
    axis = int(known.reshape(-1)[0]) if known is not None else call.get("axis", 1 if call["opset"] < 20 else -2)
    length = call["values"].get("dft_length")
    size = int(length.reshape(-1)[0]) if length is not None else signal.shape[axis]
    transforms = quotient(signal.elements, signal.shape[axis] * signal.shape[-1])
    return (real_fft if signal.shape[-1] == 1 else complex_fft)(transforms, size)
