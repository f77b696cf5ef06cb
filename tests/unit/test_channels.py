"""One channel of a recording: who is heard, from the manifest to the samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from deepspeech2.errors import AudioError, ManifestError
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.data.feature_cache import FeatureCache, utterance_spectrogram
from deepspeech2.speech.data.kaldi_commands import read_command
from deepspeech2.speech.data.manifest import Utterance, data_digest, read_manifest, write_manifest
from deepspeech2.speech.data.preflight import PreflightOptions, Reason, preflight
from deepspeech2.speech.features import spectrogram

RATE = 16_000
LEFT, RIGHT = (np.sin(np.arange(RATE) * pitch).astype(np.float32) / 2 for pitch in (0.1, 0.7))


@pytest.fixture
def call(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "call.wav", np.stack([LEFT, RIGHT], axis=1), RATE, subtype="FLOAT")
    return tmp_path / "call.wav"


def test_one_channel_is_read_alone(call: Path) -> None:
    assert np.array_equal(load_audio(call, channel=0), LEFT)
    assert np.array_equal(load_audio(call, channel=1), RIGHT)
    np.testing.assert_allclose(load_audio(call), (LEFT + RIGHT) / 2, atol=1e-7)
    with pytest.raises(AudioError, match=r"call\.wav: expected a channel 2, counted from 0, found 2 channels"):
        load_audio(call, channel=2)


def test_a_manifest_keeps_the_channel(call: Path) -> None:
    utterance = Utterance(call, 1.0, "ab", channel=1)
    write_manifest(call.parent / "m.jsonl", [utterance, replace(utterance, channel=None)])
    first, second = read_manifest(call.parent / "m.jsonl")
    assert (first.channel, second.channel) == (1, None)
    assert np.array_equal(utterance_spectrogram(first), spectrogram(RIGHT))
    (call.parent / "m.jsonl").write_text('{"audio_filepath": "call.wav", "text": "a", "channel": -1}')
    with pytest.raises(ManifestError, match=r'm\.jsonl:1: expected "channel" as a whole number from 0, found -1'):
        read_manifest(call.parent / "m.jsonl")


def test_channels_are_not_taken_for_one_another(call: Path) -> None:
    both = [Utterance(call, 1.0, "ab", channel=channel) for channel in (None, 0, 1)]
    assert len({data_digest([item]) for item in both}) == 3
    for item, samples in zip(both, ((LEFT + RIGHT) / 2, LEFT, RIGHT), strict=True):
        cache = FeatureCache(call.parent / "cache", [item], (1.0,))
        cache.build()
        np.testing.assert_allclose(cache.get(0), spectrogram(samples), atol=0.02)


@pytest.mark.parametrize("decode", [True, False])
def test_a_channel_the_file_lacks_is_left_out(call: Path, decode: bool) -> None:
    utterances = [Utterance(call, 1.0, "ab", channel=channel) for channel in (1, 2)]
    report = preflight(utterances, "ab", PreflightOptions(decode=decode))
    assert report.usable == (utterances[0],)
    assert [problem.reason for problem in report.problems] == [Reason.UNREADABLE]


def cut(**changes: Any) -> dict[str, Any]:
    supervisions = [
        {"start": 2, "channel": 1, "text": "there", "speaker": "ben"},
        {"start": 0.5, "channel": 0, "text": "yes", "speaker": "anna"},
        {"start": 0, "channel": 1, "text": "hello", "speaker": "ben"},
    ]
    source = {"type": "file", "channels": [0, 1], "source": "call.wav"}
    record = {"type": "MonoCut", "start": 0, "duration": 1.0, "channel": 1, "supervisions": supervisions}
    return record | {"recording": {"sources": [source]}} | changes


def test_a_cut_is_of_its_channel(call: Path) -> None:
    path = call.parent / "cuts.jsonl"
    path.write_text("\n".join(json.dumps(cut(channel=channel)) for channel in (1, 0, [0, 1])))
    right, left, both = read_manifest(path)
    assert (right.text, right.speaker, right.channel) == ("hello there", "ben", 1)
    assert (left.text, left.speaker, left.channel) == ("yes", "anna", 0)
    assert (both.text, both.channel) == ("hello yes there", None)
    path.write_text(json.dumps(cut(channel=2)))
    with pytest.raises(ManifestError, match=r"cuts\.jsonl:1: expected a channel of the recording, which has \[0, 1\]"):
        read_manifest(path)


def test_a_lhotse_channel_is_the_place_of_its_name_in_the_source(call: Path) -> None:
    path = call.parent / "cuts.jsonl"
    source = {"type": "file", "channels": [1, 0], "source": "call.wav"}
    path.write_text(json.dumps(cut(recording={"sources": [source]})))
    assert read_manifest(path)[0].channel == 0


@pytest.mark.parametrize(
    ("command", "channel"),
    [
        ("sph2pipe -f wav -p -c 2 call.wav |", 1),
        ("/opt/kaldi/sph2pipe -f wav -p -c 1 call.wav|", 0),
        ("sox call.wav -t wav - remix 2 |", 1),
        ("sox -V1 call.wav -r 16k -b 16 -c 1 -t wav - |", None),
        ("sox call.wav -t wav - remix - rate -h 16000 dither |", None),
        ("sph2pipe -f wav -p -c 2 call.wav 2>/dev/null | sox -t wav - -r 16000 -t wav - |", 1),
        ("ffmpeg -loglevel error -i call.wav -ac 1 -ar 16000 -f wav - |", None),
        ("ffmpeg -i call.wav -map_channel 0.0.1 -f wav - |", 1),
        ("ffmpeg -i call.wav -af 'pan=mono|c0=c1' -f wav - |", 1),
        ("flac -cds call.wav |", None),
        ("flac -c -d -s call.wav | sox - -t wav - remix 1 |", 0),
        ("cat call.wav |", None),
    ],
)
def test_a_kaldi_command_says_which_channel(call: Path, command: str, channel: int | None) -> None:
    (call.parent / "wav.scp").write_text(f"u1 {command}\n")
    (call.parent / "text").write_text("u1 a\n")
    (utterance,) = read_manifest(call.parent)
    assert (utterance.audio_path, utterance.channel) == (call, channel)


def kaldi_segments(call: Path, recording: str, *rows: str) -> Path:
    (call.parent / "wav.scp").write_text(f"call {recording}\n")
    (call.parent / "segments").write_text("".join(f"u{number} call {row}\n" for number, row in enumerate(rows)))
    (call.parent / "text").write_text("".join(f"u{number} a\n" for number in range(len(rows))))
    return call.parent


def heard(utterance: Utterance) -> np.ndarray:
    return load_audio(
        utterance.audio_path,
        offset_seconds=utterance.offset,
        duration_seconds=utterance.duration,
        channel=utterance.channel,
    )


@pytest.mark.parametrize("recording", ["call.wav", "sph2pipe -f wav -p call.wav |", "sox call.wav -t wav - |"])
def test_kaldi_segments_are_of_their_channel_and_end(call: Path, recording: str) -> None:
    rows = ("0.25 0.75 0", "0.25 0.75 1", "0.25 -1 1", "0.5 -1.0", "0 1")
    found = [heard(item) for item in read_manifest(kaldi_segments(call, recording, *rows))]
    assert np.array_equal(found[0], LEFT[4000:12_000])
    assert np.array_equal(found[1], RIGHT[4000:12_000])
    assert np.array_equal(found[2], RIGHT[4000:])
    np.testing.assert_allclose(found[3], (LEFT + RIGHT)[8000:] / 2, atol=1e-7)
    np.testing.assert_allclose(found[4], (LEFT + RIGHT) / 2, atol=1e-7)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("sph2pipe -f wav -p -c 2 call.wav |", RIGHT),
        ("sox call.wav -c 1 -t wav - remix 2 |", RIGHT),
        ("sox call.wav -t wav - remix - |", (LEFT + RIGHT) / 2),
        ("sox call.wav -t wav -c 1 - |", (LEFT + RIGHT) / 2),
        ("sox call.wav -t wav - channels 1 rate 16000 |", (LEFT + RIGHT) / 2),
        ("ffmpeg -i call.wav -ac 1 -f wav - |", (LEFT + RIGHT) / 2),
        ("flac -cds call.wav | sox - -t wav -c 1 - |", (LEFT + RIGHT) / 2),
    ],
)
def test_what_a_kaldi_command_leaves_has_one_channel(call: Path, command: str, expected: np.ndarray) -> None:
    (utterance,) = read_manifest(kaldi_segments(call, command, "0 1 0"))
    np.testing.assert_allclose(heard(utterance), expected, atol=1e-7)
    with pytest.raises(ManifestError, match=r"u0: expected channel 0 in segments, .* leaves one channel, found 1"):
        read_manifest(kaldi_segments(call, command, "0 1 1"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0", "expected 'recording start end [channel]' in segments, found 'call 0'"),
        ("0 1 0 0", "expected 'recording start end [channel]' in segments, found 'call 0 1 0 0'"),
        ("0 1 A", "expected 'recording start end [channel]' in segments, found 'call 0 1 A'"),
        ("0 1 -1", "expected a channel from 0 in segments, found -1"),
        ("1 1", "expected 0 <= start < end, or an end of -1, in segments, found 'call 1 1'"),
        ("-1 -1", "expected 0 <= start < end, or an end of -1, in segments, found 'call -1 -1'"),
        ("0 -2", "expected 0 <= start < end, or an end of -1, in segments, found 'call 0 -2'"),
        ("0 inf", "expected 0 <= start < end, or an end of -1, in segments, found 'call 0 inf'"),
        ("nan -1", "expected 0 <= start < end, or an end of -1, in segments, found 'call nan -1'"),
    ],
)
def test_a_bad_row_of_kaldi_segments_is_named(call: Path, row: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_manifest(kaldi_segments(call, "call.wav", row))
    assert str(caught.value) == f"{call.parent.name}/u0: {message}"


def test_kaldi_segments_that_are_not_there_are_left_out(call: Path) -> None:
    folder = kaldi_segments(call, "call.wav", "0 1 1", "0 1 2", "2 -1")
    report = preflight(read_manifest(folder), "a")
    assert [item.where for item in report.usable] == [f"{folder.name}/u0"]
    assert [problem.reason for problem in report.problems] == [Reason.UNREADABLE, Reason.WRONG_DURATION]
    call.unlink()
    assert [problem.reason for problem in preflight(read_manifest(folder), "a").problems] == [Reason.UNREADABLE] * 3


@pytest.mark.parametrize("command", ["flac -cds {} {} |", "ffmpeg -i {} -i {} -f wav - |", "cat {} {} |", "cat none |"])
def test_a_kaldi_command_reads_one_file(call: Path, command: str) -> None:
    (call.parent / "other.wav").write_bytes(call.read_bytes())
    (call.parent / "wav.scp").write_text(f"u1 call.wav\nu2 {command.format('call.wav', 'other.wav')}\n")
    (call.parent / "text").write_text("u1 a\nu2 a\n")
    with pytest.raises(ManifestError, match=r"wav\.scp:2: expected the command .* to name one existing audio file"):
        read_manifest(call.parent)


@pytest.mark.parametrize(
    ("command", "step"),
    [
        ("sox call.wav -t wav - trim 0 3 |", "sox trim 0 3"),
        ("sox call.wav -t wav - remix 1 highpass 300 |", "sox remix 1 highpass 300"),
        ("sox call.wav -t wav - remix 1,2 |", "sox remix 1,2"),
        ("sox call.wav other.wav -t wav - |", "sox -t wav -"),
        ("sox -m call.wav other.wav -t wav - |", "sox -m"),
        ("sph2pipe -f wav -t 1:2 call.wav |", "sph2pipe -t"),
        ("flac -c -d --skip=5 call.wav |", "flac --skip=5"),
        ("ffmpeg -ss 3 -i call.wav -f wav - |", "ffmpeg -ss"),
        ("ffmpeg -i call.wav -af lowpass=300 -f wav - |", "ffmpeg -af lowpass=300"),
        ("cat call.wav | denoise |", "denoise"),
        ("sph2pipe -p -c 2 call.wav | sox - -t wav - remix 1 |", "a second choice of a channel"),
        ("sox call.wav -c 1 -t wav - | sox - -t wav - remix 1 |", "a second choice of a channel"),
        ("sox call.wav -t wav - channels 1 remix 1 |", "sox channels 1 remix 1"),
    ],
)
def test_a_kaldi_command_that_does_more_is_refused(call: Path, command: str, step: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_command(command, "wav.scp:7")
    message = str(caught.value)
    assert message.startswith("wav.scp:7: the command '")
    assert f"'{step}' may change" in message
    assert "\n" not in message
