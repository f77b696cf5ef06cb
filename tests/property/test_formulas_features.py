"""Fourier transforms are modelled and say so; every other step of the features equals its loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech2.errors import CountingError
from deepspeech2.flops.expressions import dimension
from deepspeech2.flops.formulas.spectral import complex_fft, real_fft
from deepspeech2.flops.operations import KINDS, OperationCount
from deepspeech2.speech.features import Normalizer, spectrogram
from deepspeech2.speech.operation_counts import feature_operations


@pytest.mark.parametrize(("fft", "factor"), [(real_fft, 2.5), (complex_fft, 5)])
@pytest.mark.parametrize("length", [1, 2, 320, 512, 1000])
def test_transforms_follow_the_stated_model_and_are_marked(fft, factor, length) -> None:
    each = round(factor * length * math.log2(length))
    found = fft(7, length)
    assert found == OperationCount(other=7 * each, modelled=7 * each)
    # Nothing exact is mixed in.
    assert sum(found.kinds[kind] for kind in KINDS) == found.modelled


def test_a_symbolic_length_cannot_be_modelled() -> None:
    with pytest.raises(CountingError, match="length must be a number"):
        real_fft(1, dimension("n"))
    assert real_fft(dimension("n"), 8).other == 60 * dimension("n")


WINDOW, HOP = 320, 160


def level(scalars, samples):
    """The gain to -20 dB."""
    mean_square = scalars.add_up([value * value for value in samples]) / scalars.constant(len(samples))
    decibels = scalars.constant(10) * math.log10(mean_square)
    exponent = (scalars.constant(-20) - decibels) / scalars.constant(20)
    return math.exp2(exponent)  # a power of any base is one `exp`; of ten, counted-float would call it a general power


def windowing(scalars, samples, window, *, gain):
    factor = scalars.constant(gain)
    starts = range(0, len(samples) - WINDOW + 1, HOP)
    return [[samples[s + k] * factor * window[k] for k in range(WINDOW)] for s in starts]


def power(scalars, real, imaginary, density):
    frames, bins = real.shape
    return [
        [(real[t, k] * real[t, k] + imaginary[t, k] * imaginary[t, k]) * density[k] for k in range(bins)]
        for t in range(frames)
    ]


def logarithm(scalars, values):
    floor = scalars.constant(1e-14)
    return [[math.log(value + floor) for value in row] for row in values]


def normalisation(scalars, values, mean, deviation):
    floored = [value + scalars.constant(1e-14) for value in deviation]
    return [[(value - m) / d for value, m, d in zip(row, mean, floored, strict=True)] for row in values]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(samples=st.integers(320, 1200), seed=st.integers(0, 9))
def test_every_step_of_the_features(same_count, scalar_run, samples, seed) -> None:
    generator = np.random.default_rng(seed)
    audio = 0.1 * generator.normal(size=samples)
    counts = feature_operations(samples)
    gain = 10 ** ((-20 - 10 * math.log10(np.mean(audio**2))) / 20)
    window = np.hanning(WINDOW)
    density = np.full(161, 2 / (np.sum(window**2) * 16000))
    density[[0, -1]] /= 2
    mean, deviation = generator.normal(size=161), generator.random(161) + 0.1

    same_count(counts["level"], scalar_run(level, audio)[0])
    counted, windows = scalar_run(windowing, audio, window, gain=gain)
    same_count(counts["windowing"], counted)
    spectrum = np.fft.rfft(np.array(windows, dtype=float))
    counted, density_of_power = scalar_run(power, spectrum.real, spectrum.imag, density)
    same_count(counts["power"], counted)
    counted, logarithms = scalar_run(logarithm, np.array(density_of_power, dtype=float))
    same_count(counts["logarithm"], counted)
    counted, result = scalar_run(normalisation, np.array(logarithms, dtype=float), mean, deviation)
    same_count(counts["normalisation"], counted)
    assert counts["fft"] == real_fft(len(windows), WINDOW)
    assert counts.keys() == {"level", "windowing", "fft", "power", "logarithm", "normalisation"}

    # The steps that were counted are the features.
    features = Normalizer(mean[:, None], deviation[:, None])(spectrogram(audio))
    np.testing.assert_allclose(np.array(result, dtype=float).T, features, rtol=2e-4, atol=2e-4)
