"""How long the features of ten seconds of audio take, by one thread."""

from typing import Any

import numpy as np

from benchmarks.inference.contest import contest, summary
from benchmarks.inference.roofline import Machine
from deepspeech2.speech.audio import SAMPLE_RATE
from deepspeech2.speech.features import Normalizer, spectrogram


def feature_times(seconds: float, rounds: int, machine: Machine) -> dict[str, Any]:
    """Best and median of spectrogram and normalisation together."""
    samples = np.random.default_rng(0).standard_normal(int(seconds * SAMPLE_RATE)).astype(np.float32)
    normalizer = Normalizer.fit([spectrogram(samples)])
    return summary(contest({"features": lambda: normalizer(spectrogram(samples))}, rounds, machine)["features"])
