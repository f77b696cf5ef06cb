"""Pieces of one MP3 file or the like: the same samples as ever, none decoded twice when they come in order."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepspeech2.errors import AudioError
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.audio_reader import AudioReader

RATE = 16_000
SECONDS = 40
OPEN = Path("/proc/self/fd")


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, SECONDS * RATE).astype(np.float32)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("audio") / "long.mp3"
    soundfile.write(path, noise(0), RATE)
    return path, soundfile.read(path, dtype="float32")[0]


@pytest.fixture
def decoded(monkeypatch) -> list[int]:
    """Samples that came out of the decoder, read by read."""
    counts: list[int] = []
    read = AudioReader.read

    def counting(self, *arguments, **keywords):
        block = read(self, *arguments, **keywords)
        counts.append(len(block))
        return block

    monkeypatch.setattr(AudioReader, "read", counting)
    return counts


def piece(path, offset: float, duration: float | None) -> np.ndarray:
    return load_audio(path, offset_seconds=offset, duration_seconds=duration)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 39_000), st.one_of(st.none(), st.integers(100, 5000))),
        min_size=1,
        max_size=6,
    )
)
def test_pieces_in_any_order_are_the_parts_of_the_whole(recording, pieces) -> None:
    path, whole = recording
    for offset, duration in pieces:
        start = offset * RATE // 1000
        end = len(whole) if duration is None else start + duration * RATE // 1000
        found = piece(path, offset / 1000, None if duration is None else duration / 1000)
        np.testing.assert_allclose(found, whole[start:end], rtol=0, atol=1e-6)


def test_pieces_in_order_are_decoded_once(recording, decoded) -> None:
    path, _ = recording
    piece(path, 0, 0.5)
    decoded.clear()
    for offset in range(0, 40, 2):
        piece(path, offset, 1.5)
    assert sum(decoded) == RATE * 39.5


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.wav", "GSM610"), ("a.wav", "NMS_ADPCM_16"), ("a.wav", "G721_32"), ("a.aiff", "GSM610"), ("a.au", "G723_24")],
)
def test_formats_that_cannot_seek_are_read_on(tmp_path, decoded, name: str, subtype: str) -> None:
    soundfile.write(tmp_path / name, noise(4)[: 6 * RATE], RATE, subtype=subtype)
    with soundfile.SoundFile(tmp_path / name) as file:
        whole = file.read(file.frames, dtype="float32")
    assert np.array_equal(load_audio(tmp_path / name), whole)
    decoded.clear()
    for start in range(6):
        found = piece(tmp_path / name, start, 0.75)
        assert np.array_equal(found, whole[start * RATE : start * RATE + RATE * 3 // 4])
    assert sum(decoded) == RATE * 5.75
    assert np.array_equal(piece(tmp_path / name, 2, 1), whole[2 * RATE : 3 * RATE])
    with open(tmp_path / name, "rb") as file:  # noqa: PTH123
        assert np.array_equal(load_audio(file, offset_seconds=1.0), whole[RATE:])


def test_a_piece_before_the_last_one_starts_anew(recording, decoded) -> None:
    path, _ = recording
    piece(path, 30, 1)
    decoded.clear()
    piece(path, 10, 1)
    assert sum(decoded) == RATE * 11


def test_each_thread_stands_where_it_has_read(recording, decoded) -> None:
    path, whole = recording
    barrier = threading.Barrier(2)

    def read(start: int) -> list[np.ndarray]:
        found = []
        for offset in range(start, 40, 2):
            barrier.wait(timeout=60)
            found.append(piece(path, offset, 1))
        return found

    with ThreadPoolExecutor(2) as pool:
        for start, pieces in enumerate(pool.map(read, range(2))):
            for number, samples in enumerate(pieces):
                begin = (start + 2 * number) * RATE
                np.testing.assert_allclose(samples, whole[begin : begin + RATE], rtol=0, atol=1e-6)
    assert sum(decoded) <= 2 * SECONDS * RATE


def test_a_file_that_was_replaced_is_opened_anew(tmp_path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise(1), RATE)
    piece(path, 1, 1)
    other = tmp_path / "b.mp3"
    soundfile.write(other, noise(2), RATE)
    other.replace(path)
    expected = soundfile.read(path, dtype="float32")[0][3 * RATE : 4 * RATE]
    np.testing.assert_allclose(piece(path, 3, 1), expected, rtol=0, atol=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_does_not_move_its_parent(recording) -> None:
    path, whole = recording
    piece(path, 0, 1)
    child = os.fork()
    if child == 0:
        piece(path, 5, 20)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_allclose(piece(path, 2, 30), whole[2 * RATE : 32 * RATE], rtol=0, atol=1e-6)


def open_files() -> int:
    return len(list(OPEN.iterdir()))


@pytest.mark.skipif(not OPEN.is_dir(), reason="needs /proc/self/fd")
def test_only_one_file_stays_open(tmp_path) -> None:
    paths = [tmp_path / f"{number}.mp3" for number in range(3)]
    for path in paths:
        soundfile.write(path, noise(3), RATE)
    before = open_files()
    for path in paths:
        piece(path, 1, 1)
    with pytest.raises(AudioError, match="is empty"):
        piece(paths[0], SECONDS + 1, 1)
    assert open_files() <= before
