"""Audio given as open files, and files of any name."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from deepspeech2.errors import AudioError
from deepspeech2.speech.audio import load_audio, read_audio
from deepspeech2.speech.data.manifest import probe_seconds

CLIP = Path(__file__).parents[2] / "examples" / "clip_10s.flac"


def closed() -> Any:
    buffer = io.BytesIO(CLIP.read_bytes())
    buffer.close()
    return buffer


def at_its_end() -> Any:
    buffer = io.BytesIO(CLIP.read_bytes())
    buffer.seek(0, os.SEEK_END)
    return buffer


def unreadable() -> Any:
    return Path(os.devnull).open("wb")


def pipe() -> Any:
    reading, writing = os.pipe()
    os.close(writing)
    return os.fdopen(reading, "rb")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (closed, "expected an open file, found a closed one"),
        (at_its_end, "stands at its end; seek(0)"),
        (io.BytesIO, "the open file is empty"),
        (lambda: io.StringIO("x"), "expected a file opened in binary, found one of text"),
        (lambda: CLIP.open(encoding="latin-1"), f"{CLIP}: expected a file opened in binary, found one of text"),
        (unreadable, "expected an open file that can be read and can seek (read)"),
        (pipe, "io.BytesIO of its bytes can"),
        (lambda: io.BytesIO(b"q"), "audio stream: cannot be read as audio (Format not recognised)"),
    ],
)
def test_files_that_cannot_be_read_are_refused_by_what_they_are(
    source: Any, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    given = source()
    with pytest.raises(AudioError) as caught:
        load_audio(given)
    given.close()
    assert message in str(caught.value)
    assert "object at" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("wav", {}),
        ("wav", {"subtype": "FLOAT"}),
        ("wav", {"subtype": "IMA_ADPCM"}),
        ("flac", {}),
        ("ogg", {"subtype": "VORBIS"}),
        ("opus", {"format": "OGG", "subtype": "OPUS"}),
        ("mp3", {}),
        ("aiff", {}),
    ],
)
@pytest.mark.parametrize("stem", [b"\xff\xfe", b"caf\xe9 \x1b", b"-"])
def test_names_of_any_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: bytes, suffix: str, options: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    samples, rate = soundfile.read(CLIP)
    soundfile.write(f"plain.{suffix}", samples[: 2 * rate], rate, **options)
    name = Path(os.fsdecode(stem if stem == b"-" else stem + b"." + suffix.encode()))
    name.write_bytes(Path(f"plain.{suffix}").read_bytes())
    plain, named = read_audio(f"plain.{suffix}"), read_audio(name)
    assert np.array_equal(named.samples, plain.samples)
    assert named.announced_seconds is None
    assert probe_seconds(name) == probe_seconds(Path(f"plain.{suffix}")) >= 2.0
    piece = {"offset_seconds": 0.5, "duration_seconds": 0.5}
    assert np.array_equal(load_audio(name, **piece), load_audio(f"plain.{suffix}", **piece))


def test_a_name_that_is_not_utf8_is_shown_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\x1b.wav")
    path.write_bytes(b"nothing")
    with pytest.raises(
        AudioError, match=r"\\xff\\x1b.wav: cannot be read as audio \(Format not recognised\)"
    ) as caught:
        load_audio(path)
    assert str(caught.value).isprintable()
