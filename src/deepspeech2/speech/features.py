"""The published features: a linear log spectrogram, and its per-bin normalisation."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspeech2.errors import AudioError, CheckpointError, InputError
from deepspeech2.files import replacing
from deepspeech2.speech.audio import SAMPLE_RATE, WINDOW_SAMPLES, check_samples

HOP_SAMPLES = 160
"""Samples between two frames (10 ms): 100 frames a second."""

FREQUENCIES = WINDOW_SAMPLES // 2 + 1
"""Frequency bins of a frame: 161, from 0 to 8000 Hz in steps of 50 Hz."""

TARGET_DECIBELS = -20.0
"""Root-mean-square level every utterance is brought to."""

MAXIMUM_GAIN_DECIBELS = 300.0
"""The level of quieter audio is raised by no more than this."""

_FLOOR = 1e-14

LOG_FLOOR = math.log(_FLOOR)
"""What a spectrogram holds where there is no power, as above 4 kHz in telephone speech; nothing lies below it."""

SMALLEST_DEVIATION = 0.1
"""`Normalizer.fit` gives no bin less: one without power varies by its rounding alone (1e-3 and less, speech by 3), and
would turn a trace of power where the model is used into hundreds of deviations."""

_NORMALIZER_BYTES = 1 << 20
# Frames transformed at a time: an hour of audio needs tens of megabytes here, not gigabytes.
_CHUNK_FRAMES = 4096


def spectrogram(samples: NDArray[Any], *, name: str = "samples") -> NDArray[np.float32]:
    """Compute the linear log spectrogram the published models were trained on.

    The level is brought to -20 dB RMS, windows of 320 samples every 160 are weighted with a Hann window
    (`numpy.hanning`), and the squared magnitude of their Fourier transform becomes a one-sided power density:
    bins 1 to 159 times ``2 / (sum(w**2) * 16000)``, bins 0 and 160 times half of that; then ``ln(x + 1e-14)``.
    Samples at the end that fill no window are dropped. Not normalised per bin: see `Normalizer`.

    Args:
        samples: Mono samples at 16 kHz, shape (samples,).
        name: What an error message calls the audio.

    Returns:
        Shape (161, frames), float32, with ``frames = (samples - 320) // 160 + 1``; transformed in float64.

    Raises:
        AudioError: The samples are not one-dimensional, or empty, silent, too short or not finite.

    Example:
        >>> spectrogram(np.sin(np.arange(16000))).shape
        (161, 99)
    """
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise AudioError(f"{name}: expected mono samples of shape (samples,), found shape {samples.shape}")
    if not (np.issubdtype(samples.dtype, np.floating) or np.issubdtype(samples.dtype, np.integer)):
        raise AudioError(f"{name}: expected real samples, found {samples.dtype}")
    check_samples(samples, name)

    samples = samples.astype(np.float32, copy=False)
    gain = _gain(samples, name)
    window = np.hanning(WINDOW_SAMPLES)
    density = np.full((FREQUENCIES, 1), 2.0 / (np.sum(window**2) * SAMPLE_RATE))
    density[[0, -1]] /= 2.0

    frames = (samples.size - WINDOW_SAMPLES) // HOP_SAMPLES + 1
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    result = np.empty((FREQUENCIES, frames), np.float32)
    for start in range(0, frames, _CHUNK_FRAMES):
        # Rounding the louder samples to float32 is part of the definition: the quietest bins are its noise.
        spectrum = np.fft.rfft(windows[start : start + _CHUNK_FRAMES] * gain * window).T
        power = (spectrum.real**2 + spectrum.imag**2) * density
        result[:, start : start + _CHUNK_FRAMES] = np.log(power + _FLOOR)
    return result


def _gain(samples: NDArray[np.float32], name: str) -> np.float32:
    # The original's precision, step by step: mean square and logarithm in float32, the rest in float64. numpy's
    # float32 log10 rounds differently with and without AVX-512, here as in the original: one part in ten million
    # of the level.
    with np.errstate(over="ignore", under="ignore"):
        mean_square = np.mean(np.square(samples))
    if not 0.0 < mean_square < np.inf:
        raise AudioError(f"{name}: expected samples around [-1, 1], found a mean square of {mean_square:g}")
    decibels = 10.0 * float(np.log10(mean_square))
    return np.float32(10.0 ** (min(TARGET_DECIBELS - decibels, MAXIMUM_GAIN_DECIBELS) / 20.0))


@dataclass(frozen=True, eq=False)
class Normalizer:
    """Per-bin mean and standard deviation of the spectrograms a model was trained on.

    Attributes:
        mean: Shape (161, 1), float32.
        std: Shape (161, 1), float32.

    Raises:
        InputError: The two do not hold one finite number per bin, or a deviation is negative.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def __post_init__(self) -> None:
        for field in ("mean", "std"):
            array = np.asarray(getattr(self, field))
            if array.size == 0 or array.size != max(array.shape, default=0) or array.dtype.kind not in "fiu":
                raise InputError(
                    f"normalizer: expected {field} as one number per frequency bin, shape ({FREQUENCIES}, 1), "
                    f"found shape {array.shape} of {array.dtype}"
                )
            object.__setattr__(self, field, np.ascontiguousarray(array.reshape(-1, 1), np.float32))
            if not np.isfinite(getattr(self, field)).all():
                raise InputError(f"normalizer: {field} holds values that are not finite numbers")
        if self.mean.shape != self.std.shape or (self.std < 0).any():
            raise InputError(
                f"normalizer: expected mean and non-negative std of one length, found {self.mean.size} means and "
                f"{self.std.size} deviations, the smallest {self.std.min():g}"
            )

    @classmethod
    def fit(cls, spectrograms: Iterable[NDArray[Any]]) -> Normalizer:
        """Measure mean and standard deviation over all frames of many spectrograms, each of shape (161, frames).

        No deviation is less than `SMALLEST_DEVIATION`.

        Raises:
            InputError: There is no frame, or the spectrograms have different numbers of bins.
        """
        count, mean, squares = 0, np.zeros((1, 1)), np.zeros((1, 1))
        for features in spectrograms:
            block = np.asarray(features, np.float64)
            if block.ndim != 2 or (count and len(block) != len(mean)):
                raise InputError(f"normalizer: expected spectrograms of shape (bins, frames), found {block.shape}")
            if not block.shape[1]:
                continue
            # Chan's pairwise update: exact where a sum of squares minus a squared sum would cancel.
            frames, block_mean = block.shape[1], block.mean(axis=1, keepdims=True)
            shift = block_mean - mean if count else block_mean
            total = count + frames
            squares = squares + ((block - block_mean) ** 2).sum(axis=1, keepdims=True)
            if count:
                squares = squares + shift**2 * (count * frames / total)
                mean = mean + shift * (frames / total)
            else:
                mean = block_mean
            count = total
        if not count:
            raise InputError("normalizer: expected at least one frame to measure, found none")
        deviations = np.maximum(np.sqrt(squares / count), SMALLEST_DEVIATION)
        return cls(mean.astype(np.float32), deviations.astype(np.float32))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Normalizer:
        """Read an ``.npz`` with the arrays `mean` and `std`, as Baidu ships beside its models (`mean_std.npz`).

        Raises:
            CheckpointError: The file is missing or does not hold the two arrays.
        """
        try:
            if not Path(path).is_file():
                raise CheckpointError(f"{path}: no such file; expected an .npz with the arrays mean and std")
            with Path(path).open("rb") as file, zipfile.ZipFile(file) as archive:
                content = sum(entry.file_size for entry in archive.infolist())
                if content > _NORMALIZER_BYTES:
                    raise CheckpointError(f"{path}: {content} bytes are too many for a normalizer")
                file.seek(0)
                with np.load(file, allow_pickle=False) as arrays:
                    return cls(arrays["mean"], arrays["std"])
        except CheckpointError:
            raise
        except InputError as error:
            raise CheckpointError(f"{path}: {error}") from error
        except Exception as error:  # numpy raises many kinds on a damaged archive
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{path}: expected an .npz with the arrays mean and std ({reason})") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` with the arrays `mean` and `std` that `load` reads."""
        with replacing(path, "wb") as file:
            np.savez(file, mean=self.mean, std=self.std)

    def __call__(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """Return ``(features - mean) / (std + 1e-14)`` for features of shape (161, frames) or (batch, 161, frames).

        Raises:
            InputError: The features have another number of bins.
        """
        features = np.asarray(features, np.float32)
        if features.ndim < 2 or features.shape[-2] != len(self.mean):
            raise InputError(
                f"normalizer: expected features of shape ({len(self.mean)}, frames), found {features.shape}"
            )
        return ((features - self.mean) / (self.std + np.float32(_FLOOR))).astype(np.float32, copy=False)
