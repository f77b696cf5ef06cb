"""The cache gives what would be computed, notices what changed, and survives an interruption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech2.errors import InputError
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.data import feature_cache
from deepspeech2.speech.data.augment import change_speed
from deepspeech2.speech.data.feature_cache import FeatureCache
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.features import spectrogram


def test_gives_the_spectrograms(
    tmp_path: Path, write_tones: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "_SHARD_UTTERANCES", 2)
    utterances = read_manifest(write_tones(["abcd", "dcba ab", "aa"]))
    cache = FeatureCache(tmp_path / "cache", utterances, (1.0, 0.9))
    seen: list[int] = []
    cache.build(progress=seen.append)
    assert seen == [2, 3, 5, 6]
    for index, utterance in enumerate(utterances):
        for speed in (1.0, 0.9):
            expected = spectrogram(change_speed(load_audio(utterance.audio_path), speed))
            # float16 keeps 11 bits: values up to 32 to within 1/64.
            np.testing.assert_allclose(cache.get(index, speed), expected, atol=1 / 64)
    with pytest.raises(InputError, match=r"1\.1 times the speed"):
        cache.get(0, 1.1)


def test_nothing_stale_and_nothing_twice(
    tmp_path: Path, write_tones: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = read_manifest(write_tones(["abcd", "dcba"]))
    computed: list[str] = []
    original = feature_cache.utterance_spectrogram

    def counting(utterance, speed):  # type: ignore[no-untyped-def]
        computed.append(utterance.audio_path.name)
        return original(utterance, speed)

    monkeypatch.setattr(feature_cache, "utterance_spectrogram", counting)
    FeatureCache(tmp_path / "cache", utterances, (1.0,)).build()
    FeatureCache(tmp_path / "cache", utterances, (1.0,)).build()
    assert sorted(computed) == ["0.wav", "1.wav"]

    changed = np.random.default_rng(0).normal(size=8000) * 0.1
    soundfile.write(utterances[0].audio_path, changed, 16_000, subtype="FLOAT")
    cache = FeatureCache(tmp_path / "cache", utterances, (1.0,))
    cache.build()
    assert len(computed) == 4
    expected = spectrogram(load_audio(utterances[0].audio_path, duration_seconds=utterances[0].duration))
    np.testing.assert_allclose(cache.get(0), expected, atol=1 / 64)
