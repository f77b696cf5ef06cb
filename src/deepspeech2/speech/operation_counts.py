"""How the operations of speech are counted: the two recurrences, and the features.

The one place where speech reaches the counter, through its public door.
"""

from __future__ import annotations

from collections.abc import Callable

from deepspeech2.errors import InputError
from deepspeech2.flops.formulas.recurrences import (
    clipped_recurrence,
    clipped_recurrence_gradient,
    gated_recurrence,
    gated_recurrence_gradient,
)
from deepspeech2.flops.formulas.spectral import real_fft
from deepspeech2.flops.operations import NOTHING, Number, OperationCount
from deepspeech2.flops.registry import Call, TensorSpec, register_formula

_UNKNOWN_LENGTHS = (
    "the lengths of utterances are not known: recurrences count every frame, as for utterances of one length"
)


@register_formula("deepspeech2::simple_recurrence", "deepspeech2::simple_states")
def _simple_recurrence(call: Call) -> OperationCount:
    return clipped_recurrence(*_valid(call, call["x"]), call["x"].last)


@register_formula("deepspeech2::simple_recurrence_backward")
def _simple_recurrence_backward(call: Call) -> OperationCount:
    output = call["output"]
    return _of_frames(clipped_recurrence_gradient, *_valid(call, output), output.last)


@register_formula("deepspeech2::gru_recurrence", "deepspeech2::gru_states")
def _gru_recurrence(call: Call) -> OperationCount:
    return gated_recurrence(*_valid(call, call["x"]), call["candidate_weight"].last)


@register_formula("deepspeech2::gru_states_of_both")
def _gru_states_of_both(call: Call) -> OperationCount:
    one = gated_recurrence(*_valid(call, call["inputs"][0]), call["candidate_weights"][0].last)
    return one + one


@register_formula("deepspeech2::gru_recurrence_backward")
def _gru_recurrence_backward(call: Call) -> OperationCount:
    output = call["output"]
    return _of_frames(gated_recurrence_gradient, *_valid(call, output), output.last)


def _valid(call: Call, padded: TensorSpec) -> tuple[Number, Number]:
    """Utterances that have a frame, and the valid frames of all: of (batch, time, ...) every one if none is known.

    Raises:
        InputError: a length does not fit.
    """
    batch, time, _ = padded.shape
    lengths = call["lengths"].integers
    # Where a size is a symbol, the values are those of an example.
    if lengths is None or not isinstance(batch, int) or not isinstance(time, int):
        call.note(_UNKNOWN_LENGTHS)
        return batch, batch * time
    if len(lengths) != batch or not all(0 <= length <= time for length in lengths):
        raise InputError(
            f"recurrence: expected a length of 0 to {time} frames for each of {batch} utterances, found {lengths}"
        )
    return sum(length > 0 for length in lengths), sum(lengths)


def _of_frames(
    gradient: Callable[[Number, Number, Number], OperationCount], utterances: Number, frames: Number, size: Number
) -> OperationCount:
    """The gradient, whose sums over n frames have n - 1 additions: of none there is nothing to add."""
    return NOTHING if frames == 0 else gradient(utterances, frames, size)


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
