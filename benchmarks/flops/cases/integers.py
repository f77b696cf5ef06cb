"""Integer products: multiply-accumulates of their own, reported as integer operations."""

from __future__ import annotations

import torch
import torch.ao.nn.quantized as nnq
from torch import nn

from benchmarks.flops.cases.case import Program, case


def _dynamic(module: nn.Module) -> nn.Module:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(module, {nn.Linear, nn.LSTM, nn.GRU}, dtype=torch.qint8)


@case(4 * 5 * 6, kinds={}, integer=4 * 6 * (5 + 4))
def integer_mm() -> Program:
    """Dot products of 5 integers: 5 products and 4 sums each, no floating point."""
    return torch.mm, (torch.ones(4, 5, dtype=torch.int64), torch.ones(5, 6, dtype=torch.int64))


@case(
    4 * 5 * 6,
    integer=4 * 6 * (5 + 4) + 6 + 24,
    kinds={
        "compare": 2 * 19 + 2 * 20,
        "add": 1 + 20 + 24,
        "divide": 3,
        "multiply": 20 + 1 + 24,
        "other": 1 + 20,
    },
)
def int8_linear() -> Program:
    """Minimum and maximum of 20 inputs (19 comparisons each); scale (max - min) / 255, its reciprocal, the zero point
    round(min / scale); each input times the reciprocal, rounded, plus the zero point, clamped on both sides; integer
    dot products of 5, less zero point times the sum of 6 weight rows; each of 24 results times the product of the two
    scales, plus the bias.
    """
    return _dynamic(nn.Sequential(nn.Linear(5, 6))), (torch.randn(4, 5),)


@case(7 * 2 * 4 * (5 * 8 + 8 * 8))
def int8_lstm() -> Program:
    """As many products as the LSTM, of integers."""
    return _dynamic(nn.Sequential(nn.LSTM(5, 8))), (torch.randn(7, 2, 5),)


@case(4 * (4 * 8) * (5 + 8))
def int8_lstm_cell() -> Program:
    """4 samples, products of input and state for 4 gates of 8, of integers."""
    return _dynamic_cell(nn.Sequential(nn.LSTMCell(5, 8))), (torch.randn(4, 5),)


def _static(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nnq.Quantize(0.1, 3, torch.quint8), *layers, nnq.DeQuantize())


@case(
    4 * 5 * 6,
    integer=4 * 6 * (5 + 4) + 6 + 4 * 6 * (1 + 1 + 3),
    kinds={"multiply": 20 + 24 + 24, "other": 20 + 24, "add": 20 + 24, "compare": 40},
)
def int8_static_linear() -> Program:
    """Per input of 20: times a scale, rounded, plus the zero point, clamped twice. Integer dot products of 5; the zero
    point times the sum of 6 weight rows; per result of 24 that subtracted, an integer bias, times a scale and rounded
    (floating point), the zero point added, clamped twice. Back: less the zero point, times the scale.
    """
    return _static(nnq.Linear(5, 6)), (torch.randn(4, 5),)


@case(2 * 4 * 10 * 3 * 3, padding=2 * 4 * 2 * 3)
def int8_static_convolution() -> Program:
    """10 positions of 4 channels, 2 samples, 3 inputs by 3 taps; the outer two positions have a tap on the padding."""
    return _static(nnq.Conv1d(3, 4, 3, padding=1)), (torch.randn(2, 3, 10),)


@case(2 * 3 * 8 * 8 * 4 * 3 * 3)
def int8_static_transposed_convolution() -> Program:
    """Every input element of 2 x 3 x 8 x 8 times 4 channels by 9 taps."""
    return _static(nnq.ConvTranspose2d(3, 4, 3, stride=2)), (torch.randn(2, 3, 8, 8),)


@case(2 * 4 * 8 * 3 * 3)
def int8_dynamic_convolution() -> Program:
    """8 positions of 4 channels, 2 samples, 3 inputs by 3 taps, of integers."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.nn.quantized.dynamic.Conv1d(3, 4, 3), (torch.randn(2, 3, 10),)


@case(4 * 5 * 6, kinds={"multiply": 20 + 20 + 120, "add": 20 + 20 + 120, "other": 20, "compare": 40})
def quantised_and_back() -> Program:
    """As a converted graph has it: 20 inputs quantised (a product, rounded, a sum, two limits) and back (a difference,
    a product), then a linear layer in floating point.
    """
    from torch.ao.quantization.fx import _decomposed  # noqa: F401

    def program(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        options = (0.1, 3, -128, 127, torch.int8)
        small = torch.ops.quantized_decomposed.quantize_per_tensor(x, *options)
        return nn.functional.linear(torch.ops.quantized_decomposed.dequantize_per_tensor(small, *options), w, b)

    return program, (torch.randn(4, 5), torch.randn(6, 5), torch.randn(6))


@case(3 * 3 * 3)
def quantised_matmul() -> Program:
    """Torch's kernel dequantises both matrices, multiplies in floating point and quantises the result."""
    quantise = nnq.Quantize(0.1, 3, torch.quint8)
    return lambda x: nnq.QFunctional().matmul(quantise(x), quantise(x)).dequantize(), (torch.randn(3, 3),)


def _dynamic_cell(module: nn.Module) -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(module, {nn.LSTMCell}, dtype=torch.qint8)
