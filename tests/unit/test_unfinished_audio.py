"""Audio that was cut short, and WAV files whose recorder never wrote their length."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech2.errors import AudioError
from deepspeech2.speech.audio import load_audio, read_audio
from deepspeech2.speech.data.manifest import AudioHeader, probe_audio

RATE = 16_000
SPEECH = Path(__file__).parents[2] / "examples" / "speech"
NOISE = np.random.default_rng(0).integers(-8000, 8000, 2 * RATE).astype("<i2")
LIST = b"LIST" + struct.pack("<I", 12) + b"INFOISFT\0\0\0\0"


def wav(samples: bytes, *, data: int, riff: int | None = None, before: bytes = b"", after: bytes = b"") -> bytes:
    """A WAV of 16 bits whose header announces so many bytes, whatever it holds."""
    layout = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    body = b"WAVE" + before + layout + b"data" + struct.pack("<I", data) + samples + after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def expected(samples: int) -> np.ndarray:
    return NOISE[:samples].astype(np.float32) / 32768


@pytest.mark.parametrize(
    ("data", "riff"),
    [(0, 0), (0, 36), (0, None), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFF000, 0x7FFFF024), (0x80000000, 0x80000024)],
)
@pytest.mark.parametrize("before", [b"", LIST])
def test_a_wav_without_a_length_is_read_to_its_end(tmp_path: Path, data: int, riff: int | None, before: bytes) -> None:
    content = wav(NOISE.tobytes(), data=data, riff=riff, before=before)
    (tmp_path / "a.wav").write_bytes(content)
    for source in (tmp_path / "a.wav", io.BytesIO(content)):
        audio = read_audio(source)
        assert np.array_equal(audio.samples, expected(2 * RATE))
        assert audio.announced_seconds is None
    piece = load_audio(tmp_path / "a.wav", offset_seconds=0.5, duration_seconds=0.25)
    assert np.array_equal(piece, expected(2 * RATE)[8000:12_000])
    assert probe_audio(tmp_path / "a.wav") == AudioHeader(2.0, 2.0, RATE, is_cut_short=False)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc/self/fd")  # noqa: PTH112
def test_files_that_lack_a_length_are_closed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(NOISE.tobytes(), data=0))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        load_audio(tmp_path / "a.wav")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    stream = io.BytesIO((tmp_path / "a.wav").read_bytes())
    load_audio(stream)
    assert not stream.closed


@pytest.mark.parametrize("after", [b"", LIST, LIST + LIST[:-1]])
def test_a_length_of_nothing_is_meant_where_nothing_follows(after: bytes) -> None:
    with pytest.raises(AudioError, match="the audio is empty"):
        load_audio(io.BytesIO(wav(b"", data=0, after=after)))


def test_a_wav_cut_short_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(NOISE.tobytes(), data=4 * RATE)[: 44 + 2 * 9984])
    audio = read_audio(tmp_path / "a.wav")
    assert np.array_equal(audio.samples, expected(9984))
    assert audio.announced_seconds == 2.0

    def piece(start: float, seconds: float) -> float | None:
        return read_audio(tmp_path / "a.wav", offset_seconds=start, duration_seconds=seconds).announced_seconds

    assert piece(0.1, 0.5) is None
    assert piece(0.5, 0.75) == 0.75
    assert piece(0.5, 9.0) == 1.5
    with pytest.raises(AudioError, match=r"a.wav: cut short: its header announces audio here"):
        piece(1.0, 0.5)
    (tmp_path / "b.wav").write_bytes(wav(b"", data=4 * RATE))
    with pytest.raises(AudioError, match=r"b.wav: cut short: its header announces 64000 bytes of audio, and none"):
        load_audio(tmp_path / "b.wav")


@pytest.mark.parametrize(
    "options",
    [{"subtype": "PCM_24"}, {"subtype": "FLOAT"}, {"subtype": "ULAW"}, {"subtype": "IMA_ADPCM"}, {"format": "WAVEX"}],
)
def test_wavs_of_other_encodings_cut_short(options: dict[str, str]) -> None:
    whole = io.BytesIO()
    soundfile.write(whole, NOISE, RATE, **{"format": "WAV", **options})
    assert read_audio(whole_again(whole)).announced_seconds is None
    part = io.BytesIO(whole.getvalue()[: len(whole.getvalue()) // 2])
    # The header rounds to whole blocks of the encoding.
    assert read_audio(part).announced_seconds == pytest.approx(2.0, abs=0.1)


def whole_again(buffer: io.BytesIO) -> io.BytesIO:
    return io.BytesIO(buffer.getvalue())


def test_an_mp3_cut_short_says_so() -> None:
    content = (SPEECH / "1272-128104-0000.mp3").read_bytes()
    whole = read_audio(io.BytesIO(content))
    assert whole.announced_seconds is None
    part = read_audio(io.BytesIO(content[: len(content) // 2]))
    assert part.announced_seconds == len(whole.samples) / RATE
    assert 0.3 < len(part.samples) / len(whole.samples) < 0.7


def test_an_mp3_whose_length_is_estimated_is_not_called_short() -> None:
    """A tag behind the last frame is taken for frames where the length is estimated from the size."""
    content = (SPEECH / "1272-128104-0000.mp3").read_bytes()
    first = content.index(b"Info") - 13  # a header of 4 bytes and 9 of side information
    second = content.index(content[first : first + 2], first + 13)
    samples = read_audio(io.BytesIO(content[second:] + b"APETAGEX" + bytes(900)))
    assert samples.announced_seconds is None
    assert len(samples.samples) > 3 * RATE


@pytest.mark.parametrize(("name", "subtype"), [("OGG", "VORBIS"), ("FLAC", "PCM_16"), ("OGG", "OPUS")])
def test_formats_that_cannot_be_read_in_part_are_refused(name: str, subtype: str) -> None:
    whole = io.BytesIO()
    soundfile.write(whole, NOISE, RATE, format=name, subtype=subtype)
    assert read_audio(whole_again(whole)).announced_seconds is None
    with pytest.raises(AudioError) as caught:
        load_audio(io.BytesIO(whole.getvalue()[: len(whole.getvalue()) // 2]))
    assert "<_io" not in str(caught.value)
    if subtype == "VORBIS":
        assert "cut short: its header announces audio here" in str(caught.value)


# For each encoding, samples of a page's clock in one second, and those of them before the first that is heard.
CLOCKS = {"VORBIS": (RATE, 0), "OPUS": (48_000, 312)}


def ogg(subtype: str) -> tuple[bytes, list[tuple[int, float]]]:
    """Ten seconds, and of each page of the file where it ends in the file and at which second of the sound."""
    file = io.BytesIO()
    soundfile.write(file, np.resize(NOISE, 10 * RATE), RATE, format="OGG", subtype=subtype)
    content, place, pages = file.getvalue(), 0, []
    clock, skipped = CLOCKS[subtype]
    while place < len(content):
        (samples,) = struct.unpack("<q", content[place + 6 : place + 14])
        segments = content[place + 26]
        place += 27 + segments + sum(content[place + 27 : place + 27 + segments])
        pages.append((place, (samples - skipped) / clock))
    return content, pages


@pytest.mark.parametrize("subtype", CLOCKS)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_an_ogg_file_cut_within_a_page_says_so(tmp_path: Path, subtype: str, share: float) -> None:
    content, pages = ogg(subtype)
    part = content[: int(len(content) * share)]
    there = [second for place, second in pages if place <= len(part)][-1]
    announced = next(second for place, second in pages if place > len(part))
    (tmp_path / "a.ogg").write_bytes(part)
    for source in (tmp_path / "a.ogg", io.BytesIO(part)):
        audio = read_audio(source)
        assert np.array_equal(audio.samples, soundfile.read(io.BytesIO(part), dtype="float32")[0])
        assert len(audio.samples) / RATE == pytest.approx(there, abs=1 / RATE)
        assert audio.announced_seconds == pytest.approx(announced, abs=1 / RATE)
    header = probe_audio(tmp_path / "a.ogg")
    assert (header.seconds, header.end) == pytest.approx((announced, there), abs=1 / RATE)
    assert header.is_cut_short
    assert read_audio(tmp_path / "a.ogg", duration_seconds=there / 2).announced_seconds is None
    last = read_audio(tmp_path / "a.ogg", offset_seconds=1.0, duration_seconds=60.0)
    assert last.announced_seconds == pytest.approx(announced - 1, abs=1 / RATE)


@pytest.mark.parametrize("subtype", CLOCKS)
def test_an_ogg_file_of_whole_pages_is_whole(tmp_path: Path, subtype: str) -> None:
    """Recorders of telephones never mark the last page; tags may follow it, and other streams."""
    content, pages = ogg(subtype)
    for whole in (content, content[: pages[-2][0]], content + b"TAG" + bytes(125), content + content):
        (tmp_path / "a.ogg").write_bytes(whole)
        assert read_audio(tmp_path / "a.ogg").announced_seconds is None
        assert not probe_audio(tmp_path / "a.ogg").is_cut_short


@pytest.mark.parametrize("kept", [4, 20, 26])
def test_an_ogg_file_cut_within_the_header_of_a_page_says_so(kept: int) -> None:
    content, pages = ogg("VORBIS")
    place, there = pages[5]
    assert read_audio(io.BytesIO(content[: place + kept])).announced_seconds == there
