"""Reading audio: formats, channels, rates, parts; and one line for everything that is no usable audio."""

import io
import math

import numpy as np
import pytest
import soundfile

from deepspeech2.errors import AudioError
from deepspeech2.speech.audio import load_audio

RATE = 16_000


def tone(seconds=1.0, rate=RATE, hertz=440.0):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path, samples, rate=RATE, **options):
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.wav", {"subtype": "FLOAT"}, 0),
        ("a.wav", {"subtype": "PCM_16"}, 2**-15),
        ("a.flac", {"subtype": "PCM_24"}, 2**-22),
        ("a.ogg", {"subtype": "VORBIS"}, 0.02),
        ("a.ogg", {"subtype": "OPUS"}, 0.02),
        ("a.mp3", {}, 0.02),
    ],
)
def test_formats(tmp_path, name, options, tolerance) -> None:
    samples = load_audio(write(tmp_path / name, tone(), **options))
    assert samples.dtype == np.float32
    middle = slice(4000, 12000)  # away from the edges, where lossy codecs differ
    np.testing.assert_allclose(samples[middle], tone()[middle], rtol=0, atol=tolerance)


def test_channels_are_averaged(tmp_path) -> None:
    stereo = np.stack([tone(hertz=300), tone(hertz=500)], axis=1)
    samples = load_audio(write(tmp_path / "a.wav", stereo, subtype="FLOAT"))
    np.testing.assert_allclose(samples, stereo.mean(axis=1), rtol=0, atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled(tmp_path, rate) -> None:
    samples = load_audio(write(tmp_path / "a.wav", tone(rate=rate), rate, subtype="FLOAT"))
    assert samples.shape == (RATE,)
    np.testing.assert_allclose(samples[500:-500], tone()[500:-500], rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_long_files_are_read_without_seams(tmp_path, name) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 600_001).astype(np.float32)  # more than two blocks
    path = write(tmp_path / name, noise)
    at_once, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(load_audio(path), at_once, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_part_of_a_file(tmp_path, name) -> None:
    path = write(tmp_path / name, tone(3))
    whole = load_audio(path)
    np.testing.assert_allclose(load_audio(path, offset_seconds=0.5), whole[8000:], rtol=0, atol=1e-6)
    part = load_audio(path, offset_seconds=0.5, duration_seconds=1.25)
    np.testing.assert_allclose(part, whole[8000:28_000], rtol=0, atol=1e-6)


def test_a_part_past_the_end(tmp_path) -> None:
    with pytest.raises(AudioError, match="is empty"):
        load_audio(write(tmp_path / "a.wav", tone()), offset_seconds=2)


def test_open_files_are_read(tmp_path) -> None:
    buffer = io.BytesIO(write(tmp_path / "a.flac", tone()).read_bytes())
    assert load_audio(buffer).shape == (RATE,)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0, np.float32), "is empty"),
        (tone(319 / RATE), r"too short: 319 samples.*\(320 samples\)"),
        (np.zeros(RATE, np.float32), "silent: all 16000 samples"),
        (np.where(np.arange(RATE) == 7, np.nan, tone()).astype(np.float32), "1 of 16000 samples are not finite"),
        (np.where(np.arange(RATE) < 2, np.inf, tone()).astype(np.float32), "2 of 16000 samples are not finite"),
    ],
)
def test_unusable_audio_is_named(tmp_path, samples, message) -> None:
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match=message) as caught:
        load_audio(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_the_window_is_measured_at_the_rate_of_the_file(tmp_path) -> None:
    assert load_audio(write(tmp_path / "a.wav", tone(0.02, 8000), 8000)).size == 320
    with pytest.raises(AudioError, match=r"159 samples.*160 samples"):
        load_audio(write(tmp_path / "b.wav", tone(159 / 8000, 8000), 8000))


@pytest.mark.parametrize("content", [b"", b"not audio", b"fLaC" + bytes(100), b"RIFF\xff\xff\xff\xffWAVEfmt "])
def test_files_that_are_no_audio(tmp_path, content) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        load_audio(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        load_audio(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match="not a file"):
        load_audio(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate": 0},
        *({"offset_seconds": value} for value in (-1.0, math.inf, math.nan, 1e308)),
        *({"duration_seconds": value} for value in (0.0, math.inf, math.nan, 1e308)),
    ],
)
def test_impossible_requests(tmp_path, options) -> None:
    with pytest.raises(AudioError, match="expected a positive"):
        load_audio(write(tmp_path / "a.wav", tone()), **options)
