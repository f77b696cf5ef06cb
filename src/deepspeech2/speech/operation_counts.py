"""How the operations of speech are counted: the two recurrences, and the features.

The one place where speech reaches the counter, through its public door.
"""

from __future__ import annotations

from deepspeech2.flops.formulas.recurrences import (
    clipped_recurrence,
    clipped_recurrence_gradient,
    gated_recurrence,
    gated_recurrence_gradient,
)
from deepspeech2.flops.formulas.spectral import real_fft
from deepspeech2.flops.operations import Number, OperationCount
from deepspeech2.flops.registry import Call, register_formula


@register_formula("deepspeech2::simple_recurrence")
def _simple_recurrence(call: Call) -> OperationCount:
    return clipped_recurrence(*call["x"].shape)


@register_formula("deepspeech2::simple_recurrence_backward")
def _simple_recurrence_backward(call: Call) -> OperationCount:
    return clipped_recurrence_gradient(*call["output"].shape)


@register_formula("deepspeech2::simple_states")
def _simple_states(call: Call) -> OperationCount:
    return clipped_recurrence(*call["x"].shape)


@register_formula("deepspeech2::gru_states")
def _gru_states(call: Call) -> OperationCount:
    batch, steps, _ = call["x"].shape
    return gated_recurrence(batch, steps, call["candidate_weight"].shape[0])


@register_formula("deepspeech2::gru_states_of_both")
def _gru_states_of_both(call: Call) -> OperationCount:
    batch, steps, _ = call["inputs"][0].shape
    one = gated_recurrence(batch, steps, call["candidate_weights"][0].shape[0])
    return one + one


@register_formula("deepspeech2::gru_recurrence")
def _gru_recurrence(call: Call) -> OperationCount:
    batch, steps, _ = call["x"].shape
    return gated_recurrence(batch, steps, call["candidate_weight"].shape[0])


@register_formula("deepspeech2::gru_recurrence_backward")
def _gru_recurrence_backward(call: Call) -> OperationCount:
    return gated_recurrence_gradient(*call["output"].shape)


def feature_operations(samples: Number, *, window: int = 320, hop: int = 160) -> dict[str, OperationCount]:
    """Operations of the published features of one utterance, by step; the Fourier transform's are modelled.

    Algorithm: mean square of all samples and one gain, -20 dB less 10 log10 of it, raised to a power of ten; per frame
    the samples times the gain and times the window, a real FFT, |X|^2 from its two parts times a constant, plus a
    floor, logarithm; per bin (x - mean) / deviation (the floor of the deviation added once per bin). Tables (window,
    scale) are made once and not counted.

    Args:
        samples: length of the audio at 16 kHz.
        window: samples of a frame.
        hop: samples between frames.
    """
    frames = (samples - window) // hop + 1
    bins = window // 2 + 1
    values = frames * bins
    return {
        "level": OperationCount(multiply=samples + 1, add=samples - 1 + 1, divide=2, log=1, exp=1),
        "windowing": OperationCount(multiply=2 * frames * window),
        "fft": real_fft(frames, window),
        "power": OperationCount(multiply=3 * values, add=values),
        "logarithm": OperationCount(add=values, log=values),
        "normalisation": OperationCount(add=values + bins, divide=values),
    }
