"""Fourier transforms: their counts are modelled, and marked so."""

from __future__ import annotations

from math import log2

from deepspeech2.errors import CountingError
from deepspeech2.flops.operations import Number, OperationCount


def real_fft(transforms: Number, length: Number) -> OperationCount:
    """Fourier transform of real signals, by the model 2.5 N log2 N (rounded to a whole number per transform).

    The number of operations depends on the implementation (radix, twiddle reuse), so this is a model, the usual
    figure of merit of FFT benchmarks (half of the complex 5 N log2 N, from the radix-2 algorithm).
    """
    return _modelled(transforms, length, 2.5)


def complex_fft(transforms: Number, length: Number) -> OperationCount:
    """Fourier transform of complex signals, by the model 5 N log2 N."""
    return _modelled(transforms, length, 5.0)


def _modelled(transforms: Number, length: Number, factor: float) -> OperationCount:
    if not isinstance(length, int):
        raise CountingError(f"an FFT's length must be a number to be modelled, found the expression {length}")
    each = transforms * round(factor * length * log2(max(length, 1)))
    return OperationCount(other=each, modelled=each)
