"""Manifests in every form that is read."""

from __future__ import annotations

import gzip
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepspeech2.errors import ManifestError
from deepspeech2.speech.data.manifest import (
    Utterance,
    data_digest,
    read_manifest,
    total_seconds,
    write_manifest,
)
from deepspeech2.speech.data.preflight import Reason, preflight


def test_reads_nemo_keys_relative_to_the_manifest(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"audio_filepath": "x/1.wav", "duration": 2.5, "text": "hi", "offset": 1.5, "speaker": 7}\n'
        "\n"
        '{"audio_filepath": "/far/2.wav", "duration": 1, "text": "yes"}\n'
    )
    first, second = read_manifest(path)
    assert first == Utterance(tmp_path / "x/1.wav", 2.5, "hi", 1.5, "7", "a.jsonl:1")
    assert second == Utterance(Path("/far/2.wav"), 1.0, "yes", 0.0, None, "a.jsonl:3")
    assert total_seconds([first, second]) == 3.5


def test_writes_what_it_reads(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    utterances = [
        Utterance(tmp_path / "data" / "in.wav", 1.25, "ça va", 0.5, "s1"),
        Utterance(tmp_path / "out.wav", 2.0, "no"),
    ]
    write_manifest(tmp_path / "data" / "m.jsonl", utterances)
    records = [json.loads(line) for line in (tmp_path / "data" / "m.jsonl").read_text().splitlines()]
    assert records[0]["audio_filepath"] == "in.wav"
    assert records[1]["audio_filepath"] == str(tmp_path / "out.wav")
    found = read_manifest(tmp_path / "data" / "m.jsonl")
    assert [(u.duration, u.text, u.offset, u.speaker) for u in found] == [
        (1.25, "ça va", 0.5, "s1"),
        (2.0, "no", 0.0, None),
    ]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["m.jsonl"]


def test_the_digest_is_of_what_is_said_and_where_in_which_file() -> None:
    first, second = Utterance(Path("a/1.wav"), 2.0, "yes", 0.5), Utterance(Path("a/2.wav"), 1.0, "no")
    digest = data_digest([first, second])
    same = replace(first, audio_path=Path("/b/1.wav"), speaker="anna", where="m.jsonl:1")
    assert data_digest([same, second]) == digest
    changes: list[dict[str, Any]] = [
        {"audio_path": Path("a/3.wav")},
        {"duration": 2.5},
        {"text": "yes "},
        {"offset": 0.25},
    ]
    others = [[replace(first, **change), second] for change in changes] + [[second, first], [first], []]
    digests = {digest, *map(data_digest, others)}
    assert len(digests) == 1 + len(others)


def test_a_missing_duration_comes_from_the_audio(write_tones: Callable[..., Path]) -> None:
    manifest = write_tones(["abcd"])
    manifest.write_text('{"audio_filepath": "tones/0.wav", "text": "abcd", "offset": 0.12}\n')
    assert read_manifest(manifest)[0].duration == pytest.approx(0.36)


def test_white_space_around_a_text_is_not_read(tmp_path: Path) -> None:
    cut = {
        "start": 0.0,
        "duration": 1.0,
        "supervisions": [{"text": "yes \n"}, {"text": "\u2028no"}],
        "recording": {"id": "r", "sources": [{"type": "file", "channels": [0], "source": "r.flac"}]},
    }
    record = {"audio_filepath": "a.wav", "duration": 1.0, "text": "\u0085 caf\u00e9  at\tnine\n"}
    (tmp_path / "both.jsonl").write_text(f"{json.dumps(record)}\n{json.dumps(cut)}\n")
    assert [item.text for item in read_manifest(tmp_path / "both.jsonl")] == ["caf\u00e9  at\tnine", "yes no"]


def test_audio_that_is_not_there_does_not_stop_the_others(write_tones: Callable[..., Path]) -> None:
    manifest = write_tones(["abcd"])
    lines = ['{"audio_filepath": "lost.wav", "text": "ab"}', '{"audio_filepath": "tones/0.wav", "text": "abcd"}']
    manifest.write_text("\n".join(lines))
    report = preflight(read_manifest(manifest), "abcd")
    assert [item.text for item in report.usable] == ["abcd"]
    assert [(problem.reason, problem.utterance.where) for problem in report.problems] == [
        (Reason.UNREADABLE, "tones.jsonl:1")
    ]
    folder = manifest.parent / "tones"
    (folder / "wav.scp").write_text("u1 lost.wav\nu2 0.wav\n")
    (folder / "text").write_text("u1 ab\nu2 abcd\n")
    assert [item.text for item in preflight(read_manifest(folder), "abcd").usable] == ["abcd"]


def test_reads_lhotse_cuts(tmp_path: Path) -> None:
    cut = {
        "id": "c1",
        "start": 3.0,
        "duration": 4.5,
        "channel": 0,
        "type": "MonoCut",
        "supervisions": [
            {"id": "s1", "start": 0, "duration": 2, "text": "hello", "speaker": "anna"},
            {"id": "s2", "start": 2, "duration": 2, "text": "there", "speaker": "anna"},
        ],
        "recording": {"id": "r", "sources": [{"type": "file", "channels": [0], "source": "r.flac"}]},
    }
    path = tmp_path / "cuts.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(cut).encode() + b"\n"))
    assert read_manifest(path) == [Utterance(tmp_path / "r.flac", 4.5, "hello there", 3.0, "anna", "cuts.jsonl.gz:1")]

    cut["recording"]["sources"][0]["type"] = "command"  # type: ignore[index]
    path.write_bytes(gzip.compress(json.dumps(cut).encode() + b"\n"))
    with pytest.raises(ManifestError, match=r"cuts\.jsonl\.gz:1: .*found 'command'"):
        read_manifest(path)


def test_reads_kaldi_folders(write_tones: Callable[..., Path]) -> None:
    folder = write_tones(["abcd", "dcba"]).parent / "tones"
    (folder / "wav.scp").write_text("rec1 0.wav\nrec2 sox 1.wav -t wav - |\n")
    (folder / "text").write_text("utt1 ab\nutt2 dc ba\n")
    (folder / "segments").write_text("utt1 rec1 0.0 0.24\nutt2 rec2 0.1 0.4\n")
    (folder / "utt2spk").write_text("utt1 anna\nutt2 ben\n")
    first, second = read_manifest(folder)
    assert (first.audio_path, first.offset, first.duration, first.text) == (folder / "0.wav", 0.0, 0.24, "ab")
    assert (second.audio_path, second.speaker) == (folder / "1.wav", "ben")
    assert second.duration == pytest.approx(0.3)

    (folder / "segments").unlink()
    (folder / "text").write_text("rec1 abcd\nrec2 dcba\n")
    assert [u.duration for u in read_manifest(folder)] == pytest.approx([0.48, 0.48])


def test_kaldi_tables_are_separated_by_any_white_space(write_tones: Callable[..., Path]) -> None:
    folder = write_tones(["abcd", "dcba"]).parent / "tones"
    (folder / "wav.scp").write_text("rec1\t0.wav\n  rec2 \t sox\t1.wav  -t wav - |\r\n")
    (folder / "text").write_text("utt1\tab  c\td \nutt2   dc \u2028 ba\n", encoding="utf-8")
    (folder / "segments").write_text("utt1\trec1\t0.0\t0.24\nutt2   rec2 \t 0.1   0.4\n")
    (folder / "utt2spk").write_text("utt1\tanna\nutt2   ben\n")
    found = [(u.audio_path.name, u.offset, u.text, u.speaker) for u in read_manifest(folder)]
    assert found == [("0.wav", 0.0, "ab  c\td", "anna"), ("1.wav", 0.1, "dc \u2028 ba", "ben")]

    (folder / "segments").unlink()
    (folder / "wav.scp").write_text("utt1\t0.wav\nutt2   1.wav\n")
    (folder / "utt2dur").write_text("utt1\t0.25\nutt2   0.125\n")
    assert [u.duration for u in read_manifest(folder)] == [0.25, 0.125]


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e305", "soon"])
def test_a_bad_duration_in_a_kaldi_folder_is_named(tmp_path: Path, value: str) -> None:
    (tmp_path / "wav.scp").write_text("u1 1.wav\n")
    (tmp_path / "text").write_text("u1 a\n")
    (tmp_path / "utt2dur").write_text(f"u1 {value}\n")
    with pytest.raises(ManifestError, match=rf"/u1: expected seconds, 0 or more, in utt2dur, found '{value}'"):
        read_manifest(tmp_path)


def test_a_name_with_a_zero_byte_is_refused_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("u1 a\0.wav\n")
    (tmp_path / "text").write_text("u1 a\n")
    cut = {"duration": 1, "recording": {"sources": [{"type": "file", "source": "a\0.wav"}]}}
    (tmp_path / "cuts.jsonl").write_text(json.dumps(cut))
    for source, place in ((tmp_path, "wav.scp:1"), (tmp_path / "cuts.jsonl", "cuts.jsonl:1")):
        with pytest.raises(ManifestError, match=rf"{place}: expected the path of audio, found a zero byte in 'a"):
            read_manifest(source, texts=False)


def test_supervisions_may_start_beyond_what_a_float_holds(tmp_path: Path) -> None:
    spoken = [{"start": 10**400, "text": "there"}, {"start": 0.5, "text": "hello"}]
    cut = {"duration": 1, "supervisions": spoken, "recording": {"sources": [{"type": "file", "source": "a.wav"}]}}
    (tmp_path / "cuts.jsonl").write_text(json.dumps(cut))
    assert [item.text for item in read_manifest(tmp_path / "cuts.jsonl")] == ["hello there"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"m\.jsonl:1: expected one JSON object a line"),
        ("[1]", r"m\.jsonl:1: expected a JSON object, found list"),
        ('{"text": "a"}', r'm\.jsonl:1: expected the key "audio_filepath".*found the keys text'),
        ('{"audio_filepath": "a.wav", "duration": 1}', r'm\.jsonl:1: expected the key "text"'),
        ('{"audio_filepath": "a.wav", "duration": -1, "text": ""}', r'm\.jsonl:1: expected "duration".*found -1'),
        ('{"audio_filepath": "a.wav", "duration": "1", "text": ""}', r"m\.jsonl:1: .*found '1'"),
        (f'{{"audio_filepath": "a.wav", "duration": 1{400 * "0"}, "text": ""}}', r'm\.jsonl:1: expected "duration"'),
        (
            '{"audio_filepath": "a.wav", "duration": 1e305, "text": ""}',
            r'm\.jsonl:1: expected "duration" .*found 1e\+305',
        ),
        (
            f'{{"audio_filepath": "a.wav", "offset": 1{400 * "0"}, "text": ""}}',
            r'm\.jsonl:1: expected "offset" .*found 1',
        ),
        (
            '{"audio_filepath": "a\\u0000.wav", "text": ""}',
            r"m\.jsonl:1: .*path of audio, found a zero byte in 'a\\x00",
        ),
        ("", "the manifest is empty"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


def test_a_kaldi_command_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text(f"u1 touch {tmp_path}/made |\n")
    (tmp_path / "text").write_text("u1 a\n")
    with pytest.raises(ManifestError, match=r"wav\.scp:1: .*is not run"):
        read_manifest(tmp_path)
    assert not (tmp_path / "made").exists()


def test_a_damaged_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl.gz"
    whole = bytearray(gzip.compress(b'{"audio_filepath": "a.wav", "duration": 1, "text": "a"}\n' * 100))
    whole[10:40] = b"\xff" * 30
    path.write_bytes(whole)
    with pytest.raises(ManifestError, match=r"m\.jsonl\.gz: cannot be read"):
        read_manifest(path)


def test_a_name_longer_than_names_can_be_has_no_duration(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({"audio_filepath": 300 * "a", "text": "a"}) + "\n")
    assert read_manifest(tmp_path / "m.jsonl")[0].duration == 0.0


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("key", ["text", "duration", "channel", "recording"])
def test_deeply_nested_values_are_refused(tmp_path: Path, key: str) -> None:
    manifest = tmp_path / "m.jsonl"
    record = json.dumps({"audio_filepath": "1.wav", "duration": 1.0})

    def nest(depth: int) -> None:
        manifest.write_text(f'{record}\n{record[:-1]}, "{key}": {nested(depth)}}}\n')

    # Around the interpreter's own limit a value can be read, and is too deep to be shown in a message.
    left = sys.getrecursionlimit() - len(inspect.stack())
    for depth in range(left - 40, left + 10):
        nest(depth)
        with pytest.raises(ManifestError, match=r"m.jsonl:2: expected "):
            read_manifest(manifest, texts=False)
    nest(20 * left)
    with pytest.raises(ManifestError, match=r"m.jsonl:2: expected one JSON object a line"):
        read_manifest(manifest, texts=False)


def test_a_name_longer_than_names_can_be(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="a: cannot be opened: File name too long"):
        read_manifest("a" * 5000)


def test_a_folder_that_holds_a_manifest_stands_for_it(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", [Utterance(tmp_path / "a.wav", 1.5, "a text")])
    (read,) = read_manifest(tmp_path)
    assert (read.audio_path, read.text, read.where) == (tmp_path / "a.wav", "a text", "manifest.jsonl:1")
    (tmp_path / "other").mkdir()
    with pytest.raises(ManifestError, match=r"other: expected a folder with wav\.scp .* or manifest\.jsonl"):
        read_manifest(tmp_path / "other")
