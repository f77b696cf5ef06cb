"""Spectrograms computed once and kept on disk in half precision."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepspeech2.errors import AudioError, InputError
from deepspeech2.files import replacing
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.data.augment import change_speed
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.features import FREQUENCIES, spectrogram

_SHARD_UTTERANCES = 512
# Part of every shard's name: raise it whenever `utterance_spectrogram` gives other numbers.
_FORMAT = 1


class FeatureCache:
    """The spectrograms of a list of utterances at some speeds, mapped from disk.

    The cache is a folder of shards named after what they hold: path, size and modification time of each audio
    file, offset, duration, chosen channel and speed. A changed file, another list or another speed gives another
    name, so that nothing stale is ever read; building again after an interruption computes the missing shards only.
    Numbers are float16: the natural logarithm of a power, rounded to about 0.01. An utterance that cannot be read has
    no frames; see `unreadable` and `without`.
    """

    def __init__(self, folder: str | os.PathLike[str], utterances: Sequence[Utterance], speeds: Sequence[float]):
        self._folder = Path(folder)
        self._utterances = list(utterances)
        self._speeds = tuple(speeds)
        self._kept = list(range(len(self._utterances)))
        self._shards: dict[tuple[int, float], tuple[NDArray[np.float16], NDArray[np.int64]]] = {}

    def build(self, *, workers: int = 1, progress: Callable[[int], None] | None = None) -> None:
        """Compute the shards that are missing.

        Args:
            workers: Threads that decode and transform.
            progress: Called with the number of spectrograms that are ready, of `len(utterances) * len(speeds)`.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        done = 0
        with ThreadPoolExecutor(max(1, workers)) as pool:
            for speed in self._speeds:
                for shard in range(self._shard_count):
                    members = self._members(shard)
                    path = self._path(shard, speed)
                    if not path.exists():
                        computed = pool.map(lambda item, rate=speed: _spectrogram_or_nothing(item, rate), members)
                        _write_shard(path, list(computed))
                    done += len(members)
                    if progress:
                        progress(done)

    def unreadable(self) -> list[int]:
        """The utterances that have no spectrogram at one of the speeds, by their places in the list.

        Raises:
            InputError: The cache has not been built.
        """
        missing: set[int] = set()
        for speed in self._speeds:
            for shard in range(self._shard_count):
                _, starts = self._open(shard, speed)
                missing.update((shard * _SHARD_UTTERANCES + np.flatnonzero(np.diff(starts) == 0)).tolist())
        return [number for number, place in enumerate(self._kept) if place in missing]

    def frames(self, index: int) -> int:
        """Frames of one utterance at its own speed.

        Raises:
            InputError: The cache has not been built.
        """
        shard, position = divmod(self._kept[index], _SHARD_UTTERANCES)
        _, starts = self._open(shard, 1.0)
        return int(starts[position + 1] - starts[position])

    def without(self, left_out: Collection[int]) -> FeatureCache:
        """The same cache for the utterances that remain, in their order, without those at these places."""
        remaining = FeatureCache(self._folder, self._utterances, self._speeds)
        remaining._kept = [place for number, place in enumerate(self._kept) if number not in left_out]
        return remaining

    def get(self, index: int, speed: float = 1.0) -> NDArray[np.float32]:
        """The spectrogram of one utterance, shape (161, frames), float32, not normalised.

        Raises:
            InputError: The cache has not been built for this speed.
        """
        shard, position = divmod(self._kept[index], _SHARD_UTTERANCES)
        frames, starts = self._open(shard, speed)
        return frames[starts[position] : starts[position + 1]].T.astype(np.float32)

    @property
    def _shard_count(self) -> int:
        return -(-len(self._utterances) // _SHARD_UTTERANCES)

    def _members(self, shard: int) -> list[Utterance]:
        return self._utterances[shard * _SHARD_UTTERANCES : (shard + 1) * _SHARD_UTTERANCES]

    def _path(self, shard: int, speed: float) -> Path:
        digest = hashlib.sha256(f"{_FORMAT} {speed!r}".encode())
        for utterance in self._members(shard):
            status = utterance.audio_path.stat()
            key = (str(utterance.audio_path.resolve()), status.st_size, status.st_mtime_ns)
            # A channel only where one is chosen: shards made before there were channels stay good.
            chosen = () if utterance.channel is None else (utterance.channel,)
            digest.update(repr((*key, utterance.offset, utterance.duration, *chosen)).encode())
        return self._folder / f"{digest.hexdigest()[:32]}.npy"

    def _open(self, shard: int, speed: float) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        key = (shard, speed)
        if key not in self._shards:
            path = self._path(shard, speed)
            if not path.exists():
                raise InputError(f"{self._folder}: no spectrograms of {speed:g} times the speed; build the cache first")
            frames = np.load(path, mmap_mode="r", allow_pickle=False)
            starts = np.load(path.with_suffix(".starts.npy"), allow_pickle=False)
            self._shards[key] = frames, starts
        return self._shards[key]


def utterance_spectrogram(utterance: Utterance, speed: float = 1.0) -> NDArray[np.float32]:
    """Read an utterance and compute its spectrogram, shape (161, frames), float32, not normalised.

    Raises:
        AudioError: The audio cannot be used; the message names the file.
    """
    samples = load_audio(
        utterance.audio_path,
        offset_seconds=utterance.offset,
        duration_seconds=utterance.duration or None,
        channel=utterance.channel,
    )
    return spectrogram(change_speed(samples, speed), name=utterance.name)


def _spectrogram_or_nothing(utterance: Utterance, speed: float) -> NDArray[np.float32]:
    try:
        return utterance_spectrogram(utterance, speed)
    except AudioError:
        return np.empty((FREQUENCIES, 0), np.float32)


def _write_shard(path: Path, spectrograms: Sequence[NDArray[np.float32]]) -> None:
    # Frames first, so that an utterance is one stretch of the file; the frames file is renamed last and vouches
    # for both.
    lengths = [features.shape[1] for features in spectrograms]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    frames = np.empty((int(starts[-1]), FREQUENCIES), np.float16)
    for features, start in zip(spectrograms, starts.tolist(), strict=False):
        frames[start : start + features.shape[1]] = features.T
    for array, target in ((starts, path.with_suffix(".starts.npy")), (frames, path)):
        with replacing(target, "wb") as file:
            np.save(file, array, allow_pickle=False)
