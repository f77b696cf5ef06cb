"""Fourier transforms (short-time transforms reach these after framing and windowing, which are counted exactly)."""

from __future__ import annotations

from deepspeech2.flops.formulas.spectral import complex_fft, real_fft
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula


def _axes(call: Call, signal: TensorSpec) -> tuple[Number, list[Number]]:
    """Elements of the full-length signal and the lengths of the transformed axes, in the order of transformation."""
    return signal.elements, [signal.shape[axis] for axis in call["dim"]]


def _scaling(call: Call) -> OperationCount:
    # normalization 0 leaves the sums as they are; otherwise the result is multiplied by a constant.
    if not call.get("normalization"):
        return OperationCount()
    parts = 2 if call.output.dtype.is_complex else 1
    return OperationCount(multiply=parts * call.output.elements)


def _transforms(elements: Number, length: Number) -> Number:
    return elements // length if isinstance(elements, int) and isinstance(length, int) else elements / length


@register_formula("aten::_fft_r2c")
def _real_to_complex(call: Call) -> OperationCount:
    elements, lengths = _axes(call, call["self"])
    count = real_fft(_transforms(elements, lengths[-1]), lengths[-1])
    kept = elements
    if call.get("onesided"):
        kept = _transforms(elements, lengths[-1]) * (lengths[-1] // 2 + 1)
    for length in lengths[:-1]:
        count = count + complex_fft(_transforms(kept, length), length)
    return count + _scaling(call)


@register_formula("aten::_fft_c2r")
def _complex_to_real(call: Call) -> OperationCount:
    lengths = [call.output.shape[axis] for axis in call["dim"]]
    count = real_fft(_transforms(call.output.elements, lengths[-1]), lengths[-1])
    for length in lengths[:-1]:
        count = count + complex_fft(_transforms(call["self"].elements, length), length)
    return count + _scaling(call)


@register_formula("aten::_fft_c2c")
def _complex_to_complex(call: Call) -> OperationCount:
    elements, lengths = _axes(call, call["self"])
    count = OperationCount()
    for length in lengths:
        count = count + complex_fft(_transforms(elements, length), length)
    return count + _scaling(call)
