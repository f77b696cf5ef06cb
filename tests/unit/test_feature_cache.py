"""The cache gives what would be computed, notices what changed, and survives an interruption."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from deepspeech2.errors import AudioError, InputError
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.data import feature_cache
from deepspeech2.speech.data.augment import change_speed
from deepspeech2.speech.data.feature_cache import FeatureCache, utterance_spectrogram
from deepspeech2.speech.data.manifest import Utterance, read_manifest
from deepspeech2.speech.features import spectrogram

CLIP = Path(__file__).parents[2] / "examples" / "clip_10s.flac"


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


def test_bins_without_power_are_kept_as_finely_as_they_vary(tmp_path: Path) -> None:
    # Telephone speech: half the samples of the clip, nothing above 4 kHz.
    samples = load_audio(CLIP, duration_seconds=6.0)
    narrow = np.fft.irfft(np.fft.rfft(samples)[: len(samples) // 4 + 1], len(samples) // 2) / 2
    soundfile.write(tmp_path / "call.wav", narrow, 8_000, subtype="PCM_16")
    call = Utterance(tmp_path / "call.wav", 6.0)
    fresh = spectrogram(load_audio(call.audio_path)).astype(np.float64)
    mean, deviation = fresh.mean(axis=1, keepdims=True), fresh.std(axis=1, keepdims=True)
    assert deviation[120:].max() < 0.01, "the upper bins vary by rounding only"
    cache = FeatureCache(tmp_path / "cache", [call], (1.0,))
    cache.build()
    np.testing.assert_allclose((cache.get(0) - mean) / deviation, (fresh - mean) / deviation, rtol=0, atol=0.1)


def test_what_could_not_be_read_is_tried_again(
    tmp_path: Path, write_tones: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = read_manifest(write_tones(["abcd", "dcba", "aa"]))
    asked: list[str] = []

    def lent(failing: str | None) -> None:
        def spectrogram_of(utterance: Utterance, speed: float) -> NDArray[np.float32]:
            asked.append(utterance.audio_path.name)
            if utterance.audio_path.name == failing:
                raise AudioError("too many open files")
            return utterance_spectrogram(utterance, speed)

        monkeypatch.setattr(feature_cache, "utterance_spectrogram", spectrogram_of)

    lent(failing="1.wav")
    cache = FeatureCache(tmp_path / "cache", utterances, (1.0,))
    cache.build()
    other = FeatureCache(tmp_path / "cache", utterances, (1.0,))  # of a training that goes on without it
    assert cache.unreadable() == other.unreadable() == [1]
    first = other.get(0)
    lent(failing=None)
    asked.clear()
    cache.build()
    assert asked == ["1.wav"], "the others were read before"
    assert cache.unreadable() == []
    for index, utterance in enumerate(utterances):
        np.testing.assert_allclose(cache.get(index), spectrogram(load_audio(utterance.audio_path)), atol=1 / 64)
    assert np.array_equal(cache.get(0), first)
    assert np.array_equal(other.get(0), first)
    assert other.unreadable() == [1]


def test_a_list_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    # 511 offsets of where the utterances start fill a page of the file to its end.
    (tmp_path / "no.wav").write_bytes(b"no audio")
    cache = FeatureCache(tmp_path / "cache", [Utterance(tmp_path / "no.wav", 1.0)] * 511, (1.0,))
    cache.build()
    assert cache.unreadable() == list(range(511))
    assert cache.frames(510) == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:11],
        lambda content: content[:-322],
        lambda content: content + b"more",
        lambda content: bytes(len(content)),
        lambda content: b"\xff" * len(content),
    ],
    ids=["empty", "half", "cut in its offsets", "a frame less", "more", "zeros", "ones"],
)
def test_a_damaged_shard_is_made_anew(
    tmp_path: Path, write_tones: Callable[..., Path], damage: Callable[[bytes], bytes]
) -> None:
    utterances = read_manifest(write_tones(["abcd", "dcba"]))
    FeatureCache(tmp_path / "cache", utterances, (1.0,)).build()
    (shard,) = (tmp_path / "cache").iterdir()
    content = shard.read_bytes()
    shard.write_bytes(damage(content))
    cache = FeatureCache(tmp_path / "cache", utterances, (1.0,))
    with pytest.raises(InputError, match="build the cache first"):
        cache.get(0)
    cache.build()
    assert shard.read_bytes() == content
    np.testing.assert_allclose(cache.get(1), spectrogram(load_audio(utterances[1].audio_path)), atol=1 / 64)


def test_a_shard_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, write_tones: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[int, int, bool]] = []
    synchronise = os.fsync

    def noted(handle: int) -> None:
        status = os.fstat(handle)
        written.append((status.st_ino, status.st_size, any((tmp_path / "cache").glob("*.spectrograms"))))
        synchronise(handle)

    monkeypatch.setattr(os, "fsync", noted)
    FeatureCache(tmp_path / "cache", read_manifest(write_tones(["abcd"])), (1.0,)).build()
    (shard,) = (tmp_path / "cache").iterdir()
    assert written == [(shard.stat().st_ino, shard.stat().st_size, False)]


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


def test_what_a_kill_left_is_removed_once_nobody_can_be_writing_it(
    tmp_path: Path, write_tones: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances, folder = read_manifest(write_tones(["abcd", "dcba"])), tmp_path / "cache"

    def killed(source: str, target: str) -> None:
        raise KeyboardInterrupt

    def left_by_a_kill() -> Path:
        before = set(folder.glob(".*"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", killed)
            patch.setattr(Path, "unlink", lambda *path, **options: None)  # nothing is tidied up after a kill
            with pytest.raises(KeyboardInterrupt):
                FeatureCache(folder, utterances[:1], (1.0,)).build()
        (left,) = set(folder.glob(".*")) - before
        assert left.stat().st_size > 30 * 161 * 2
        return left

    old, young = left_by_a_kill(), left_by_a_kill()
    of_others = folder / ".notes.txt.x.partial"
    of_others.touch()
    now = time.time()
    for path, age in ((old, 3700), (young, 3500), (of_others, 1e6)):
        os.utime(path, (now - age, now - age))
    other = FeatureCache(folder, utterances[1:], (1.0,))
    other.build()
    (shard,) = folder.glob("*.spectrograms")
    assert set(folder.iterdir()) == {shard, young, of_others}
    np.testing.assert_allclose(other.get(0), spectrogram(load_audio(utterances[1].audio_path)), atol=1 / 64)


def test_half_a_shard_is_none(
    tmp_path: Path, write_tones: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    utterances = read_manifest(write_tones(["abcd", "dcba"]))

    def killed(source: str, target: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            FeatureCache(tmp_path / "cache", utterances, (1.0,)).build()
    again = FeatureCache(tmp_path / "cache", utterances, (1.0,))
    with pytest.raises(InputError, match="build the cache first"):
        again.get(0)
    again.build()
    for index, utterance in enumerate(utterances):
        np.testing.assert_allclose(again.get(index), spectrogram(load_audio(utterance.audio_path)), atol=1 / 64)
