"""Spectrograms computed once and kept on disk in half precision."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspeech2.errors import AudioError, InputError
from deepspeech2.files import replacing
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.data.augment import change_speed
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.features import FREQUENCIES, LOG_FLOOR, spectrogram

_SHARD_UTTERANCES = 512
# Part of every shard's name: raise it whenever `utterance_spectrogram` gives other numbers or they are kept otherwise.
_FORMAT = 2
_SUFFIX = ".spectrograms"
# A shard is computed before it is written, which takes seconds.
_ABANDONED_SECONDS = 3600.0


class FeatureCache:
    """The spectrograms of a list of utterances at some speeds, mapped from disk.

    The cache is a folder of shards named after what they hold: path, size and modification time of each audio
    file, offset, duration, chosen channel and speed. A changed file, another list or another speed gives another
    name, so that nothing stale is ever read; building again after an interruption computes the missing shards only.
    Numbers are float16: how far the natural logarithm of a power lies above its floor, rounded to about 0.01, and
    finely near the floor, where whole bins without power vary by 1e-4. An utterance that cannot be read has no frames;
    see `unreadable` and `without`. Several processes may use one folder, and fill it.
    """

    def __init__(self, folder: str | os.PathLike[str], utterances: Sequence[Utterance], speeds: Sequence[float]):
        self._folder = Path(folder)
        self._utterances = list(utterances)
        self._speeds = tuple(speeds)
        self._kept = list(range(len(self._utterances)))
        self._shards: dict[tuple[int, float], _Shard] = {}

    def build(self, *, workers: int = 1, progress: Callable[[int], None] | None = None) -> None:
        """Compute the shards that are missing or damaged, and what could not be read when the others were made.

        What killed processes left of shards they were writing is removed, of other lists too, once it is an hour old.

        Args:
            workers: Threads that decode and transform.
            progress: Called with the number of spectrograms that are ready, of `len(utterances) * len(speeds)`.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(self._folder)
        done = 0
        with ThreadPoolExecutor(max(1, workers)) as pool:
            for speed in self._speeds:
                for shard in range(self._shard_count):
                    done += self._complete(shard, speed, pool)
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
                missing.update(shard * _SHARD_UTTERANCES + place for place in self._open(shard, speed).empty())
        return [number for number, place in enumerate(self._kept) if place in missing]

    def frames(self, index: int) -> int:
        """Frames of one utterance at its own speed.

        Raises:
            InputError: The cache has not been built.
        """
        shard, position = divmod(self._kept[index], _SHARD_UTTERANCES)
        return len(self._open(shard, 1.0).rows(position))

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
        return self._open(shard, speed).rows(position).T.astype(np.float32) + np.float32(LOG_FLOOR)

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
            digest.update(repr((*key, utterance.offset, utterance.duration, utterance.channel)).encode())
        return self._folder / f"{digest.hexdigest()[:32]}{_SUFFIX}"

    def _complete(self, shard: int, speed: float, pool: ThreadPoolExecutor) -> int:
        """Compute what a shard lacks; returns how many utterances it is of."""
        members, path = self._members(shard), self._path(shard, speed)
        found = _read_shard(path, len(members))
        stored = found or _Shard.of_nothing(len(members))
        # What could not be read, perhaps for a moment only (too many open files, a network disk), is tried again.
        missing = stored.empty()
        computed = dict(
            zip(missing, pool.map(lambda place: _rows_or_nothing(members[place], speed), missing), strict=True)
        )
        if found is None or any(len(rows) for rows in computed.values()):
            _write_shard(path, [computed.get(place, stored.rows(place)) for place in range(len(members))])
            self._shards.pop((shard, speed), None)
        return len(members)

    def _open(self, shard: int, speed: float) -> _Shard:
        key = (shard, speed)
        if key not in self._shards:
            found = _read_shard(self._path(shard, speed), len(self._members(shard)))
            if found is None:
                raise InputError(f"{self._folder}: no spectrograms of {speed:g} times the speed; build the cache first")
            self._shards[key] = found
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


class _Shard(NamedTuple):
    """Spectrograms as a file holds them: where each utterance starts and the last one ends, then frame after frame."""

    starts: NDArray[np.int64]
    frames: NDArray[np.float16]

    @classmethod
    def of_nothing(cls, utterances: int) -> _Shard:
        return cls(np.zeros(utterances + 1, np.int64), np.empty((0, FREQUENCIES), np.float16))

    def rows(self, place: int) -> NDArray[np.float16]:
        """The frames of an utterance, shape (frames, 161), above the floor."""
        return self.frames[self.starts[place] : self.starts[place + 1]]

    def empty(self) -> list[int]:
        """The utterances without frames."""
        return np.flatnonzero(np.diff(self.starts) == 0).tolist()


def _rows_or_nothing(utterance: Utterance, speed: float) -> NDArray[np.float16]:
    try:
        features = utterance_spectrogram(utterance, speed)
    except AudioError:
        return np.empty((0, FREQUENCIES), np.float16)
    return (features.T - np.float32(LOG_FLOOR)).astype(np.float16)


def _read_shard(path: Path, utterances: int) -> _Shard | None:
    """The shard of a file, its frames mapped; None where there is no such file, or not a whole one."""
    try:
        with path.open("rb") as file:
            starts = np.fromfile(file, np.int64, utterances + 1)
            if len(starts) <= utterances or starts[0] != 0 or (np.diff(starts) < 0).any():
                return None
            frames = int(starts[-1])
            if os.fstat(file.fileno()).st_size != starts.nbytes + frames * FREQUENCIES * np.float16().nbytes:
                return None
            if not frames:  # numpy before 2.3 cannot map nothing at the end of a page
                return _Shard.of_nothing(utterances)
            return _Shard(starts, np.memmap(file, np.float16, "r", starts.nbytes, (frames, FREQUENCIES)))
    except FileNotFoundError:
        return None


def _write_shard(path: Path, utterances: Sequence[NDArray[np.float16]]) -> None:
    starts = np.cumsum([0, *map(len, utterances)], dtype=np.int64)
    with replacing(path, "wb") as file:
        file.write(starts.tobytes())
        file.writelines(rows.tobytes() for rows in utterances)
        # On the disk before it has its name: after a power cut there would be a name without what it vouches for.
        file.flush()
        os.fsync(file.fileno())


def _remove_abandoned(folder: Path) -> None:
    # `remove_partial` would take the files of those that write here now; a lock fails on disks that know none.
    latest = time.time() - _ABANDONED_SECONDS
    for left in folder.glob(f".*{_SUFFIX}.*.partial"):
        with suppress(OSError):  # removed by another process meanwhile, or another user's
            if left.stat().st_mtime < latest:
                left.unlink()
