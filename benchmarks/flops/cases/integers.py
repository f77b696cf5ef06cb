"""Integer products: multiply-accumulates of their own, reported as integer operations."""

from __future__ import annotations

import torch
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


def _dynamic_cell(module: nn.Module) -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(module, {nn.LSTMCell}, dtype=torch.qint8)
