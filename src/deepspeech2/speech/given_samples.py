"""Audio that is given as samples, and the refusal of what is no audio at all."""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO, cast

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from deepspeech2.errors import AudioError, OptionError
from deepspeech2.speech.audio import SAMPLE_RATE, WINDOW_SAMPLES, Audio, check_samples

LOWEST_RATE = 1000
"""The lowest sampling rate taken for one, in Hz."""

NAME = "samples"
"""What messages and transcripts call audio that has no file."""


def given_samples(source: object) -> NDArray[Any] | None:
    """A numpy array, or a torch tensor on the CPU as one; None for anything else.

    Raises:
        AudioError: A tensor is elsewhere, or of a kind that numpy does not have.
    """
    if isinstance(source, np.ndarray):
        return source
    if not isinstance(source, torch.Tensor):
        return None
    if source.device.type != "cpu":
        raise AudioError(f"{NAME}: expected a tensor on the CPU, found one on {source.device}; give tensor.cpu()")
    tensor = source.detach()
    try:
        return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
    except (TypeError, RuntimeError) as error:  # sparse or quantised
        raise AudioError(f"{NAME}: expected a dense tensor, found {source.dtype} as {source.layout}") from error


def check_rate(sample_rate: object) -> int:
    """A sampling rate as a plain integer.

    Raises:
        OptionError: It is no whole number, or too low to be one.
    """
    whole = isinstance(sample_rate, (int, np.integer)) and not isinstance(sample_rate, bool)
    if not whole or int(sample_rate) < LOWEST_RATE:  # type: ignore[call-overload]
        raise OptionError(f"expected sample_rate in whole Hz, at least {LOWEST_RATE}, found {sample_rate!r}")
    return int(sample_rate)  # type: ignore[call-overload,no-any-return]


def audio_of_samples(samples: NDArray[Any], sample_rate: int) -> Audio:
    """Samples as `read_audio` would give them: mono, at 16 kHz.

    Args:
        samples: Shape (samples,) or (samples, channels), which are averaged; floating point numbers, or signed
            integers, of which the largest becomes 1.
        sample_rate: Their rate, in Hz.

    Raises:
        AudioError: Another shape or kind of numbers; resampled audio that `check_samples` refuses.
    """
    if samples.dtype.kind == "u":
        raise AudioError(
            f"{NAME}: expected floating point or signed integer samples, found {samples.dtype}; "
            "take off its middle value (128 of uint8) first"
        )
    if samples.dtype.kind not in "fi":
        raise AudioError(f"{NAME}: expected real samples, found {samples.dtype}")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > max(1, samples.shape[0])):
        turned = "; give its transpose" if samples.ndim == 2 else ""
        raise AudioError(f"{NAME}: expected shape (samples,) or (samples, channels), found {samples.shape}{turned}")
    if samples.dtype.kind == "i":
        bits = min(8 * samples.dtype.itemsize, 32)  # integers of 64 bits are seldom filled
        samples = (samples / 2.0 ** (bits - 1)).astype(np.float32)
    if samples.ndim == 2:
        samples = samples.mean(axis=1) if samples.size else samples.reshape(-1)
    if sample_rate != SAMPLE_RATE:
        check_samples(samples, NAME, minimum=math.ceil(WINDOW_SAMPLES * sample_rate / SAMPLE_RATE))
        samples = soxr.resample(samples.astype(np.float32, copy=False), sample_rate, SAMPLE_RATE)
    return Audio(samples, sample_rate)


def path_or_stream(source: object) -> str | os.PathLike[str] | BinaryIO:
    """What soundfile can open; anything else is refused by its kind, without showing what is in it.

    Raises:
        AudioError: It is neither a path nor an open file.
    """
    if isinstance(source, (str, os.PathLike)):
        return source
    if hasattr(source, "read") and hasattr(source, "seek"):
        return cast("BinaryIO", source)
    kind = type(source).__name__
    ways = {"list": "numpy.asarray(...)", "tuple": "numpy.asarray(...)"}
    ways |= dict.fromkeys(("bytes", "bytearray", "memoryview"), "io.BytesIO(...) of a whole audio file")
    way_out = f"; give {ways[kind]}" if kind in ways else ""
    raise AudioError(f"expected audio as a path, an open file, an Utterance or an array, found {kind}{way_out}")
