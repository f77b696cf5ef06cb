"""The cache gives what would be computed, notices what changed, and survives an interruption."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech2.errors import InputError
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.data import feature_cache
from deepspeech2.speech.data.augment import change_speed
from deepspeech2.speech.data.feature_cache import FeatureCache
from deepspeech2.speech.data.manifest import Utterance, read_manifest
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


def rewritten(utterance: Utterance) -> Utterance:
    status = utterance.audio_path.stat()
    soundfile.write(utterance.audio_path, load_audio(utterance.audio_path)[::-1], 16_000)
    os.utime(utterance.audio_path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    assert utterance.audio_path.stat().st_size == status.st_size
    return utterance


def lengthened(utterance: Utterance) -> Utterance:
    status = utterance.audio_path.stat()
    soundfile.write(utterance.audio_path, np.tile(load_audio(utterance.audio_path)[::-1], 2), 16_000)
    os.utime(utterance.audio_path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert utterance.audio_path.stat().st_mtime_ns == status.st_mtime_ns
    return utterance


def elsewhere(utterance: Utterance) -> Utterance:
    other = utterance.audio_path.with_name("other.wav")
    shutil.copy2(utterance.audio_path, other)
    status = utterance.audio_path.stat()
    soundfile.write(other, load_audio(other)[::-1], 16_000)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    return replace(utterance, audio_path=other)


@pytest.mark.parametrize(
    "change",
    [
        rewritten,
        lengthened,
        elsewhere,
        lambda utterance: replace(utterance, offset=0.06),
        lambda utterance: replace(utterance, duration=0.30),
    ],
    ids=["modification time", "size", "path", "offset", "duration"],
)
def test_a_change_of_one_thing_is_seen(
    tmp_path: Path, write_tones: Callable[..., Path], change: Callable[[Utterance], Utterance]
) -> None:
    utterance = replace(read_manifest(write_tones(["abcd"]))[0], duration=0.36)
    FeatureCache(tmp_path / "cache", [utterance], (1.0,)).build()
    changed = change(utterance)
    cache = FeatureCache(tmp_path / "cache", [changed], (1.0,))
    with pytest.raises(InputError, match="build the cache first"):
        cache.get(0)
    cache.build()
    heard = load_audio(changed.audio_path, offset_seconds=changed.offset, duration_seconds=changed.duration)
    np.testing.assert_allclose(cache.get(0), spectrogram(heard), atol=1 / 64)


@pytest.mark.parametrize("renamed", [0, 1])
def test_half_a_shard_is_none(
    tmp_path: Path, write_tones: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    utterances = read_manifest(write_tones(["abcd", "dcba"]))
    rename, done = os.replace, []

    def killed(source: str, target: str) -> None:
        if len(done) == renamed:
            raise KeyboardInterrupt
        done.append(target)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            FeatureCache(tmp_path / "cache", utterances, (1.0,)).build()
    assert len(done) == renamed, "killed in time, and between the files of the shard"
    again = FeatureCache(tmp_path / "cache", utterances, (1.0,))
    with pytest.raises(InputError, match="build the cache first"):
        again.get(0)
    again.build()
    for index, utterance in enumerate(utterances):
        np.testing.assert_allclose(again.get(index), spectrogram(load_audio(utterance.audio_path)), atol=1 / 64)
