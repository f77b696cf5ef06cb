"""Reading audio: any file soundfile knows, as mono samples at the rate the model was made for."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from deepspeech2.errors import AudioError, SilentAudioError
from deepspeech2.speech.audio_reader import AudioReader, name_of, opened_at

SAMPLE_RATE = 16_000
"""Samples per second of every published DeepSpeech2."""

WINDOW_SAMPLES = 320
"""Samples of one analysis window (20 ms); audio shorter than this has no frame."""

# Below this a file is not speech but a damaged header, and resampling would multiply it without bound.
_LOWEST_RATE = 1000
# Thirty years; nor does it overflow when it becomes samples.
_LONGEST_SECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Audio:
    """Audio as it was read.

    Attributes:
        samples: Mono samples at the rate asked for, shape (samples,), float32.
        native_rate: Samples per second of the recording itself; above half of it there is no sound.
        announced_seconds: What the header announces of what was to be read, where less is there; None otherwise. Of
            an OGG file the page that was cut announces it, and what was to follow that is not known.
    """

    samples: NDArray[np.float32]
    native_rate: int
    announced_seconds: float | None = None


def load_audio(
    source: str | os.PathLike[str] | BinaryIO,
    sample_rate: int = SAMPLE_RATE,
    *,
    offset_seconds: float = 0.0,
    duration_seconds: float | None = None,
    channel: int | None = None,
    minimum: int = WINDOW_SAMPLES,
) -> NDArray[np.float32]:
    """Read a WAV, FLAC, OGG (Vorbis or Opus) or MP3 file as mono samples.

    Channels are averaged unless one is chosen; another sampling rate is converted with soxr (high quality). The
    level is left as it is: `spectrogram` normalises it. Of a WAV, MP3 or OGG file that was cut short what is there is
    given, without a word; `read_audio` says how long it was to be. A WAV whose header has no length is read to its end.

    Args:
        source: A path, or an open binary file that can seek.
        sample_rate: The rate of the samples returned, in Hz.
        offset_seconds: Where to start, in seconds from the beginning of the file.
        duration_seconds: How much to read; everything that is left when None.
        channel: The one channel to read, counted from 0; None for the average of all.
        minimum: The fewest samples that are enough, at 16 kHz: one window, without which speech has no spectrogram.

    Returns:
        Samples in [-1, 1], shape (samples,), float32.

    Raises:
        AudioError: The file is missing, is not audio, lacks the channel, or its audio is empty, silent
            (`SilentAudioError`), shorter than `minimum`, or holds values that are not numbers; an open file
            is closed, of text, cannot seek or stands at its end.

    Example:
        >>> samples = load_audio("examples/clip_10s.flac")
        >>> samples.shape
        (159920,)
    """
    return read_audio(
        source,
        sample_rate,
        offset_seconds=offset_seconds,
        duration_seconds=duration_seconds,
        channel=channel,
        minimum=minimum,
    ).samples


def read_audio(
    source: str | os.PathLike[str] | BinaryIO,
    sample_rate: int = SAMPLE_RATE,
    *,
    offset_seconds: float = 0.0,
    duration_seconds: float | None = None,
    channel: int | None = None,
    minimum: int = WINDOW_SAMPLES,
) -> Audio:
    """`load_audio` for those who need to know the recording's own rate as well.

    Raises:
        AudioError: As `load_audio`.
    """
    name = name_of(source)
    place_is_one = 0 <= offset_seconds < _LONGEST_SECONDS
    length_is_one = duration_seconds is None or 0 < duration_seconds < _LONGEST_SECONDS
    if sample_rate <= 0 or not place_is_one or not length_is_one:
        raise AudioError(
            f"{name}: expected a positive sample_rate and duration_seconds and offset_seconds of 0 or more, "
            f"found {sample_rate}, {duration_seconds} and {offset_seconds}"
        )
    read = _read_mono(source, name, offset_seconds, duration_seconds, channel)
    samples, native_rate = read.samples, read.native_rate
    check_samples(samples, name, minimum=math.ceil(minimum * native_rate / SAMPLE_RATE))
    if native_rate != sample_rate:
        samples = soxr.resample(samples, native_rate, sample_rate).astype(np.float32, copy=False)
        check_samples(samples, name, minimum=1)  # values near the largest float32 overflow
    return replace(read, samples=samples)


def check_samples(samples: NDArray[Any], name: str, minimum: int = WINDOW_SAMPLES) -> None:
    """Refuse audio that has no spectrogram: empty, too short, silent or not finite.

    Args:
        samples: Mono samples, shape (samples,).
        name: What the message calls the audio, normally its file name.
        minimum: The fewest samples that are enough: one window.

    Raises:
        SilentAudioError: Every sample is zero.
        AudioError: Anything else; both name the audio and what is wrong with it.
    """
    if samples.size == 0:
        raise AudioError(f"{name}: the audio is empty; expected at least one window of 20 ms")
    if samples.size < minimum:
        raise AudioError(
            f"{name}: the audio is too short: {samples.size} samples, expected at least one window of 20 ms "
            f"({minimum} samples)"
        )
    low, high = float(samples.min()), float(samples.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = int(np.count_nonzero(~np.isfinite(samples)))
        raise AudioError(f"{name}: {bad} of {samples.size} samples are not finite numbers; export the audio again")
    if low == high == 0.0:
        raise SilentAudioError(f"{name}: the audio is silent: all {samples.size} samples are zero")


def check_channel(channel: int | None, channels: int, name: str) -> None:
    """Refuse a channel that audio of so many channels does not have; None is every channel.

    Raises:
        AudioError: There is no such channel; the message names the audio.
    """
    if channel is not None and not 0 <= channel < channels:
        found = "1 channel" if channels == 1 else f"{channels} channels"
        raise AudioError(f"{name}: expected a channel {channel}, counted from 0, found {found}")


def _require_file(path: Path, name: str) -> None:
    try:
        found = "" if path.is_file() else "not a file" if path.exists() else "no such file"
    except OSError as error:  # a folder that may not be entered, a name longer than names can be
        found = f"cannot be opened: {error.strerror}"
    if found:
        raise AudioError(f"{name}: {found}; expected a WAV, FLAC, OGG or MP3 file")


def _read_mono(
    source: str | os.PathLike[str] | BinaryIO,
    name: str,
    offset_seconds: float,
    duration_seconds: float | None,
    channel: int | None,
) -> Audio:
    """What is to be read, at the rate of the recording."""
    if isinstance(source, (str, os.PathLike)):
        _require_file(Path(source), name)
    try:
        # What is no number is named later, by `check_samples`.
        with opened_at(source, offset_seconds) as audio, np.errstate(invalid="ignore", over="ignore"):
            rate = int(audio.samplerate)
            if rate < _LOWEST_RATE:
                raise AudioError(f"{name}: expected a sampling rate of at least {_LOWEST_RATE} Hz, found {rate} Hz")
            check_channel(channel, audio.channels, name)
            wanted = None if duration_seconds is None else round(duration_seconds * rate)
            start, all_wanted = round(offset_seconds * rate), wanted
            blocks = []
            while wanted is None or wanted > 0:
                block = audio.block(wanted)
                if not len(block):
                    break
                blocks.append(block.mean(axis=1) if channel is None else block[:, channel].copy())
                wanted = None if wanted is None else wanted - len(block)
            announced = _announced(audio, start, all_wanted)
            if not blocks and announced is not None:
                raise AudioError(f"{name}: cut short: its header announces audio here, and none is there")
            if not blocks and not audio.position and audio.format == "OGG":
                raise AudioError(f"{name}: empty or cut short: an OGG file says at its end how long it is")
    except AudioError:
        raise
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, RuntimeError) as error:
        raise AudioError(
            f"{name}: cannot be read as audio ({one_line(error)}); expected a WAV, FLAC, OGG or MP3 file"
        ) from error
    return Audio(np.concatenate(blocks) if blocks else np.zeros(0, np.float32), rate, announced)


def _announced(audio: AudioReader, start: int, wanted: int | None) -> float | None:
    """Seconds of what was wanted that the header announces, where the file ended before; None where it did not."""
    rate = audio.samplerate
    if not audio.ended or not audio.announces_more_than(audio.position):
        return None
    announced = max(audio.announced, audio.position) - start
    announced = announced if wanted is None else min(announced, wanted)
    return announced / rate if announced > 0 else None


def one_line(error: Exception) -> str:
    """What an error of soundfile or of the system says, on one line."""
    # What soundfile puts before its reason names the file as Python shows it.
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
