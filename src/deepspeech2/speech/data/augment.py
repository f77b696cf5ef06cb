"""Changes to samples that a recogniser should not mind: speed, volume, shift, noise, rooms, telephone lines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import soxr
from numpy.typing import NDArray

from deepspeech2.errors import OptionError, SilentAudioError
from deepspeech2.speech.audio import SAMPLE_RATE, WINDOW_SAMPLES, load_audio
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.option_checks import check_kind, check_number, check_positive, check_range, check_whole

Samples = NDArray[np.float32]


class Augmentation(ABC):
    """One random change of samples. All randomness comes from the generator handed in."""

    @abstractmethod
    def apply(self, samples: Samples, generator: np.random.Generator) -> Samples:
        """Return changed samples, shape (samples,), float32; the argument is left as it is."""


@dataclass(frozen=True, slots=True)
class Sometimes:
    """An augmentation and how often it happens.

    Attributes:
        augmentation: What is done.
        probability: How often, from 0 to 1.
    """

    augmentation: Augmentation
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_kind("augmentation", Augmentation, augmentation=self.augmentation)
        check_number("augmentation", "from 0 to 1", 0, 1, probability=self.probability)


def augment(samples: Samples, steps: Sequence[Sometimes], generator: np.random.Generator) -> Samples:
    """Apply each step with its probability, in order.

    A step draws its own random numbers from a generator of its own, so that whether one happens changes nothing
    about the others.
    """
    for step, own in zip(steps, generator.spawn(len(steps)), strict=True):
        if own.random() < step.probability:
            samples = step.augmentation.apply(samples, own)
    return samples


@dataclass(frozen=True, slots=True)
class Speed(Augmentation):
    """Play faster or slower, changing pitch with it (Ko et al. 2015).

    Attributes:
        lowest: Slowest rate.
        highest: Fastest rate.
        rates: Draw from this many evenly spaced rates; None for any rate between.
    """

    lowest: float = 0.9
    highest: float = 1.1
    rates: int | None = None

    def __post_init__(self) -> None:
        check_range("speed", self.lowest, self.highest)
        check_positive("speed", lowest=self.lowest)
        if self.rates is not None:
            check_whole("speed", 1, rates=self.rates)

    def apply(self, samples: Samples, generator: np.random.Generator) -> Samples:
        """Resample to 1 / rate of the length."""
        if self.rates is None:
            rate = float(generator.uniform(self.lowest, self.highest))
        else:
            rate = float(generator.choice(np.linspace(self.lowest, self.highest, self.rates)))
        return change_speed(samples, rate)


@dataclass(frozen=True, slots=True)
class Volume(Augmentation):
    """Make louder or softer. The published features undo it, as they bring every utterance to one level.

    Attributes:
        lowest: Smallest gain in dB.
        highest: Largest gain in dB.
    """

    lowest: float = -15.0
    highest: float = 15.0

    def __post_init__(self) -> None:
        check_range("volume", self.lowest, self.highest)

    def apply(self, samples: Samples, generator: np.random.Generator) -> Samples:
        """Multiply by one gain."""
        gain = generator.uniform(self.lowest, self.highest)
        return (samples * np.float32(10 ** (gain / 20))).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class Shift(Augmentation):
    """Move in time; what leaves at one end is replaced by silence at the other.

    Attributes:
        lowest: Smallest shift in milliseconds; negative is towards the beginning.
        highest: Largest shift in milliseconds.
    """

    lowest: float = -5.0
    highest: float = 5.0

    def __post_init__(self) -> None:
        check_range("shift", self.lowest, self.highest)

    def apply(self, samples: Samples, generator: np.random.Generator) -> Samples:
        """Shift by whole samples."""
        count = round(generator.uniform(self.lowest, self.highest) * SAMPLE_RATE / 1000)
        count = max(-len(samples), min(len(samples), count))
        shifted = np.zeros_like(samples)
        if count >= 0:
            shifted[count:] = samples[: len(samples) - count]
        else:
            shifted[:count] = samples[-count:]
        return shifted


@dataclass(frozen=True, slots=True)
class BandLimit(Augmentation):
    """Resample to a lower rate and back: what a telephone line leaves of the speech.

    Attributes:
        sample_rate: The rate in between, in Hz.
    """

    sample_rate: int = 8000

    def __post_init__(self) -> None:
        check_whole("band limit", 1, SAMPLE_RATE + 1, sample_rate=self.sample_rate)

    def apply(self, samples: Samples, generator: np.random.Generator) -> Samples:
        """Keep the length and lose the upper frequencies."""
        low = soxr.resample(samples, SAMPLE_RATE, self.sample_rate)
        return _fit(np.asarray(soxr.resample(low, self.sample_rate, SAMPLE_RATE), np.float32), len(samples))


@dataclass(frozen=True, slots=True)
class Recorded(Augmentation):
    """An augmentation by recordings, one of which is drawn each time.

    Attributes:
        recordings: What to draw from.
    """

    recordings: Sequence[Utterance] = field(repr=False)

    @classmethod
    @abstractmethod
    def read(cls, recording: Utterance) -> Samples:
        """What `apply` uses of a recording, shape (samples,), float32.

        Raises:
            AudioError: It cannot be used.
        """


@dataclass(frozen=True, slots=True)
class Noise(Recorded):
    """Add a random piece of a noise recording at a random signal-to-noise ratio.

    Attributes:
        recordings: Noise to draw from; a silent recording adds nothing.
        lowest: Smallest ratio in dB.
        highest: Largest ratio in dB.
    """

    lowest: float = 10.0
    highest: float = 30.0

    def __post_init__(self) -> None:
        check_range("noise", self.lowest, self.highest)
        if not self.recordings:
            raise OptionError("expected at least one noise recording, found none")

    def apply(self, samples: Samples, generator: np.random.Generator) -> Samples:
        """Mix; noise shorter than the speech is repeated."""
        noise = self.read(self.recordings[int(generator.integers(len(self.recordings)))])
        ratio = generator.uniform(self.lowest, self.highest)
        start = int(generator.integers(max(1, len(noise) - len(samples) + 1)))
        return mix_noise(samples, np.resize(noise[start:], len(samples)), float(ratio))

    @classmethod
    def read(cls, recording: Utterance) -> Samples:
        """The noise, of 20 ms or more; of silence one sample, which is repeated as any noise is."""
        try:
            return _load(recording, WINDOW_SAMPLES)
        except SilentAudioError:
            return np.zeros(1, np.float32)


@dataclass(frozen=True, slots=True)
class ImpulseResponse(Recorded):
    """Convolve with the impulse response of a room.

    Attributes:
        recordings: Impulse responses to draw from, of any length.
    """

    def __post_init__(self) -> None:
        if not self.recordings:
            raise OptionError("expected at least one impulse response, found none")

    def apply(self, samples: Samples, generator: np.random.Generator) -> Samples:
        """Convolve, keeping length and level."""
        return convolve_room(samples, self.read(self.recordings[int(generator.integers(len(self.recordings)))]))

    @classmethod
    def read(cls, recording: Utterance) -> Samples:
        """The response; a dry room's is shorter than the 20 ms that speech has to have."""
        return _load(recording, 1)


def change_speed(samples: Samples, rate: float) -> Samples:
    """Samples played `rate` times as fast: 1 / rate of the length, pitch times the rate."""
    if rate == 1.0:
        return samples
    return np.asarray(soxr.resample(samples, SAMPLE_RATE * rate, SAMPLE_RATE), np.float32)


def mix_noise(samples: Samples, noise: Samples, decibels: float) -> Samples:
    """Speech plus noise of the same length, scaled so that the speech has `decibels` more mean power.

    Where either is silent no ratio exists, and the speech is returned as it is.
    """
    speech_power, noise_power = float(np.mean(np.square(samples))), float(np.mean(np.square(noise)))
    if speech_power == 0 or noise_power == 0:
        return samples
    gain = (speech_power / noise_power / 10 ** (decibels / 10)) ** 0.5
    return (samples + np.float32(gain) * noise).astype(np.float32, copy=False)


def convolve_room(samples: Samples, response: Samples) -> Samples:
    """Speech convolved with an impulse response, aligned at its strongest tap, at the level it had."""
    peak = int(np.argmax(np.abs(response)))
    size = len(samples) + len(response) - 1
    padded = 1 << (size - 1).bit_length()
    spectrum = np.fft.rfft(samples, padded) * np.fft.rfft(response, padded)
    wet = np.fft.irfft(spectrum, padded)[peak : peak + len(samples)]
    before, after = float(np.mean(np.square(samples))), float(np.mean(np.square(wet)))
    return (wet * (before / after) ** 0.5 if after else wet).astype(np.float32)


def _load(recording: Utterance, minimum: int) -> Samples:
    return load_audio(
        recording.audio_path,
        offset_seconds=recording.offset,
        duration_seconds=recording.duration or None,
        channel=recording.channel,
        minimum=minimum,
    )


def _fit(samples: Samples, length: int) -> Samples:
    return samples[:length] if len(samples) >= length else np.pad(samples, (0, length - len(samples)))
