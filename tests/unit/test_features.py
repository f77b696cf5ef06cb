"""The spectrogram against its definition, and the normaliser against numpy."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech2.errors import AudioError, CheckpointError, InputError
from deepspeech2.speech.features import Normalizer, spectrogram

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)


def from_the_definition(samples):
    """One frame and one bin at a time, as a plain discrete Fourier transform."""
    samples = samples * 10 ** ((-20 - 10 * np.log10(np.mean(samples**2))) / 20)
    window = np.hanning(320)
    scale = np.sum(window**2) * 16_000
    bins, place = np.arange(161)[:, None], np.arange(320)
    waves = np.exp(-2j * np.pi * bins * place / 320)
    columns = []
    for start in range(0, len(samples) - 320 + 1, 160):
        power = np.abs(waves @ (samples[start : start + 320] * window)) ** 2
        power[1:-1] *= 2 / scale
        power[[0, -1]] /= scale
        columns.append(np.log(power + 1e-14))
    return np.stack(columns, axis=1)


def test_spectrogram_is_what_its_definition_says() -> None:
    found = spectrogram(NOISE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, from_the_definition(NOISE.astype(np.float64)), rtol=0, atol=2e-3)


@given(st.integers(320, 5000))
def test_frames_are_those_that_fill_a_window(samples) -> None:
    assert spectrogram(NOISE[:samples]).shape == (161, (samples - 320) // 160 + 1)


def test_ten_seconds_have_999_frames() -> None:
    assert spectrogram(np.tile(NOISE, 10)).shape == (161, 999)


@given(st.floats(1e-4, 1e3))
def test_the_level_does_not_matter(gain) -> None:
    np.testing.assert_allclose(spectrogram(NOISE * np.float32(gain)), spectrogram(NOISE), rtol=0, atol=5e-3)


def test_integer_samples_are_taken_as_they_are() -> None:
    samples = (NOISE * 20_000).astype(np.int16)
    np.testing.assert_allclose(spectrogram(samples), spectrogram(samples / 32_768), rtol=0, atol=5e-3)


def test_chunks_leave_no_trace_and_memory_stays_bounded() -> None:
    samples = np.tile(NOISE, 120)  # three chunks
    tracemalloc.start()
    whole = spectrogram(samples)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The result, the squares of the samples, and some tens of megabytes for a chunk.
    assert peak < whole.nbytes + samples.nbytes + (64 << 20)
    part = slice(4000, 4200)  # across the first boundary
    again = spectrogram(samples)[:, part]
    alone = np.stack([whole[:, frame] for frame in range(4000, 4200)], axis=1)
    assert np.array_equal(again, alone)
    # The noise repeats every second, and so must its frames.
    np.testing.assert_allclose(whole[:, 4050:4150], whole[:, 50:150], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 400)), r"found shape \(2, 400\)"),
        (np.zeros(0), "is empty"),
        (NOISE[:319], "too short: 319 samples"),
        (np.zeros(400), "silent"),
        (np.full(400, np.nan), "400 of 400 samples are not finite"),
        (np.full(400, 1e-30), "mean square of 0"),
        (np.full(400, 1e30), "mean square of inf"),
        (np.full(400, 1j), "expected real samples"),
    ],
)
def test_samples_without_a_spectrogram_are_named(samples, message) -> None:
    with pytest.raises(AudioError, match=f"clip.wav: .*{message}"):
        spectrogram(samples, name="clip.wav")


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any), st.integers(0, 99))
def test_fitted_normalizer_is_mean_and_deviation_over_all_frames(frames, seed) -> None:
    generator = np.random.default_rng(seed)
    spectrograms = [generator.normal(-15, 4, (161, count)).astype(np.float32) for count in frames]
    fitted, joined = Normalizer.fit(spectrograms), np.concatenate(spectrograms, axis=1).astype(np.float64)
    np.testing.assert_allclose(fitted.mean[:, 0], joined.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(fitted.std[:, 0], np.maximum(joined.std(axis=1), 0.1), rtol=1e-5)


def test_a_bin_that_hardly_varies_stays_small() -> None:
    # By hand: one constant, one of 1 and 1.1 (deviation 0.05), one of 2 and 8 (deviation 3).
    fitted = Normalizer.fit([np.array([[-32.0, -32.0], [1.0, 1.1], [2.0, 8.0]])])
    np.testing.assert_allclose(fitted.std[:, 0], [0.1, 0.1, 3.0], rtol=1e-6)
    np.testing.assert_allclose(fitted(np.array([[-31.99], [1.1], [8.0]]))[:, 0], [0.1, 0.5, 1.0], rtol=1e-4)


def test_normalizing_gives_zero_mean_and_unit_deviation() -> None:
    features = spectrogram(NOISE)
    normalized = Normalizer.fit([features])(features)
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(normalized.std(axis=1), 1, atol=1e-4)


def test_normalizer_round_trip_and_batches(tmp_path) -> None:
    fitted = Normalizer.fit([spectrogram(NOISE)])
    fitted.save(tmp_path / "mean_std.npz")
    again = Normalizer.load(tmp_path / "mean_std.npz")
    assert np.array_equal(again.mean, fitted.mean)
    assert np.array_equal(again.std, fitted.std)
    batch = np.stack([spectrogram(NOISE)] * 2)
    assert np.array_equal(again(batch)[1], again(batch[1]))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (np.zeros((161, 2)), np.ones(161), "one number per frequency bin"),
        (np.zeros(161), np.ones(160), "161 means and 160 deviations"),
        (np.zeros(161), -np.ones(161), "smallest -1"),
        (np.full(161, np.nan), np.ones(161), "not finite"),
        (np.array(["a"]), np.ones(1), "shape"),
    ],
)
def test_impossible_normalizers(mean, std, message) -> None:
    with pytest.raises(InputError, match=message):
        Normalizer(mean, std)


def test_fitting_nothing() -> None:
    with pytest.raises(InputError, match="at least one frame"):
        Normalizer.fit([])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"\x93NUMPY"])
def test_files_that_are_no_normalizer(tmp_path, content) -> None:
    path = tmp_path / "mean_std.npz"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"expected an \.npz with the arrays mean and std"):
        Normalizer.load(path)
    with pytest.raises(CheckpointError, match="no such file"):
        Normalizer.load(tmp_path / "absent.npz")


def test_a_normalizer_that_would_fill_memory_is_refused(tmp_path) -> None:
    path = tmp_path / "mean_std.npz"
    np.savez_compressed(path, mean=np.zeros(1 << 20), std=np.zeros(1 << 20))
    with pytest.raises(CheckpointError, match="too many"):
        Normalizer.load(path)


def test_normalizer_of_other_bins_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(161, frames\), found \(80, 5\)"):
        Normalizer(np.zeros(161), np.ones(161))(np.zeros((80, 5)))


def test_no_recording_is_raised_by_more_than_300_decibels() -> None:
    level = 10 * np.log10(np.mean(NOISE.astype(np.float64) ** 2))
    faint, usual = (np.exp(spectrogram(NOISE * np.float32(factor)).astype(np.float64)) for factor in (1e-18, 1))
    # 360 down and 300 up again; the usual level is -20, the floor 1e-14.
    expected = (usual - 1e-14) * 10 ** ((level - 360 + 300 + 20) / 10) + 1e-14
    assert np.median(expected) > 2e-14
    np.testing.assert_allclose(faint, expected, rtol=5e-3)
