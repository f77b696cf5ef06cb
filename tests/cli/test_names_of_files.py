"""Files whose names look like something else: options, JSON, control characters, bytes that are not UTF-8."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from cli_runs import CLIP, run
from deepspeech2.speech.audio import load_audio


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(name: str | bytes, seconds: float) -> None:
    """So many seconds of the clip as a WAV file of that name."""
    soundfile.write("plain", load_audio(CLIP, duration_seconds=seconds), 16_000, format="WAV")
    os.rename("plain", name)  # noqa: PTH104


def heard(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, float]]:
    """Name and length of everything that was transcribed."""
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [(item["source"], item["seconds"]) for item in records]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["[a].wav", "b.wav"], ["[a].wav", "b.wav"]),
        (['["a", "b.wav"]'], ['["a", "b.wav"]']),
        (["b.wav", "./-dash.wav"], ["b.wav", "-dash.wav"]),
        (["./-"], ["-"]),
        (["b.wav", "--", "-dash.wav", "--model"], ["b.wav", "-dash.wav", "--model"]),
    ],
)
def test_a_name_is_a_name(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], names: list[str]
) -> None:
    for number, name in enumerate(names, start=1):
        record(name, number / 2)
    options = ("--model", checkpoint, "--decoder", "greedy", "--format", "json")
    assert run("transcribe", *options, *arguments) == 0
    assert heard(capsys) == [(name, number / 2) for number, name in enumerate(names, start=1)]


def test_an_unknown_option_is_told_from_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record("-dash.wav", 0.5)
    assert run("transcribe", "-dash.wav") == 2
    error = capsys.readouterr().err
    assert "unknown option -dash.wav" in error
    assert "a file of that name is ./-dash.wav" in error


def test_other_lists_are_not_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uniform = np.log(np.full((4, 29), 1 / 29, np.float32))
    for name in ("[a].npy", '["b"]'):
        with Path(name).open("wb") as file:
            np.save(file, uniform)
    Path('["b"]').rename('["b"].npy')
    assert run("decode", "[a].npy", '["b"].npy', "--greedy", "--format", "json") == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["[a]", '["b"]']
    assert run("flops", "default", "--shape", '["1,161,50"]') == 2
    assert '["1,161,50"]' in capsys.readouterr().err


def test_a_name_moves_no_cursor_and_splits_no_row(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a\x1b[2J.wav", "b\n0.wav", "c\td.wav", "\u202ee.wav"]
    for name in names:
        record(name, 0.5)
    options = ("--model", checkpoint, "--decoder", "greedy")
    assert run("transcribe", *names, *options) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split("\t")[0] for row in rows] == ["a\\x1b[2J.wav", "b\\n0.wav", "c\\td.wav", "\\u202ee.wav"]
    assert {row.count("\t") for row in rows} == {1}
    assert run("transcribe", *names, *options, "--format", "json") == 0
    assert [name for name, _ in heard(capsys)] == names  # JSON has its own escapes

    assert run("transcribe", "lost\x1b[31m.wav", *options) == 1
    assert "ds2: lost\\x1b[31m.wav: no such file" in capsys.readouterr().err
    assert run("evaluate", "lost\x1b[31m.jsonl") == 2
    assert "lost\\x1b[31m.jsonl: no such manifest" in capsys.readouterr().err
    Path("m.jsonl").write_text(json.dumps({"audio_filepath": names[0], "duration": 0.5, "text": "\x1b[5mcab"}) + "\n")
    assert run("evaluate", "m.jsonl", *options) == 0
    table = capsys.readouterr().out
    assert "a\\x1b[2J.wav" in table
    assert "\x1b" not in table


def test_a_name_that_is_not_utf8_is_transcribed(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In what is written it stands with escapes for its bytes, in the name of a file as it is."""
    name = os.fsdecode(b"caf\xe9.wav")
    record(name, 0.5)
    record("b.wav", 1.0)
    options = ("--model", checkpoint, "--decoder", "greedy")
    assert run("transcribe", name, "b.wav", *options, "--format", "json") == 0
    assert heard(capsys) == [("caf\\xe9.wav", 0.5), ("b.wav", 1.0)]
    assert run("transcribe", name, "b.wav", *options, "--output", "p.jsonl") == 0
    lines = Path("p.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["source"] for line in lines] == ["caf\\xe9.wav", "b.wav"]
    assert run("transcribe", name, *options, "--output-dir", "out") == 0
    assert os.listdir(b"out") == [b"caf\xe9.txt"]  # noqa: PTH208
    inner = Path(os.fsdecode(b"\xff"))
    inner.mkdir()
    Path("b.wav").rename(inner / "b.wav")
    (inner / "m.jsonl").write_text(json.dumps({"audio_filepath": "b.wav", "duration": 1.0, "text": "cab"}) + "\n")
    for _ in range(2):
        assert run("evaluate", inner / "m.jsonl", *options, "--output", "e.jsonl", "--resume") == 0
        assert json.loads(Path("e.jsonl").read_text())["audio_filepath"] == "\\xff/b.wav"


def test_audio_cut_short_is_named(checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record("a.wav", 2.0)
    record("b.wav", 1.0)
    Path("a.wav").write_bytes(Path("a.wav").read_bytes()[: 44 + 2 * 9984])
    options = ("--model", checkpoint, "--decoder", "greedy", "--format", "json")
    assert run("transcribe", "a.wav", "b.wav", *options) == 0
    output = capsys.readouterr()
    records = [json.loads(line) for line in output.out.splitlines()]
    assert [(item["seconds"], item.get("announced_seconds")) for item in records] == [(0.624, 2.0), (1.0, None)]
    assert "announced_seconds" not in records[1]
    assert output.err == "ds2: a.wav: cut short: 2.000 s are announced and 0.624 s are there, which were transcribed\n"


def test_audio_cut_short_by_nobody_knows_how_much_is_named(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten bytes of a page of OGG do not say how many samples were to be in it."""
    noise = np.random.default_rng(0).standard_normal(80_000) / 10
    soundfile.write("a.ogg", noise, 16_000, format="OGG", subtype="VORBIS")
    content = Path("a.ogg").read_bytes()
    Path("a.ogg").write_bytes(content[: content.rindex(b"OggS") + 10])
    seconds = soundfile.info("a.ogg").duration
    assert run("transcribe", "a.ogg", "--model", checkpoint, "--decoder", "greedy") == 0
    said = f"it ends within a page, and {seconds:.3f} s are there, which were transcribed"
    assert capsys.readouterr().err == f"ds2: a.ogg: cut short: {said}\n"


def test_an_evaluation_names_audio_cut_short(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record("a.wav", 2.0)
    Path("a.wav").write_bytes(Path("a.wav").read_bytes()[: 44 + 2 * 9984])
    Path("m.jsonl").write_text(json.dumps({"audio_filepath": "a.wav", "text": "cab"}) + "\n")
    options = ("--model", checkpoint, "--decoder", "greedy", "--output", "e.jsonl")
    for more in ((), ("--resume",)):
        assert run("evaluate", "m.jsonl", *options, *more) == 0
        error = capsys.readouterr().err
        assert error == "ds2: a.wav: cut short: 2.000 s are announced and 0.624 s are there, which were transcribed\n"
        written = json.loads(Path("e.jsonl").read_text())
        assert (written["duration"], written["announced_seconds"]) == (0.624, 2.0)


def test_what_is_no_audio_on_standard_input(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for content, found in ((b"q", "cannot be read as audio (Format not recognised)"), (b"", "the open file is empty")):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
        assert run("transcribe", "-", "--model", checkpoint, "--decoder", "greedy") == 1
        assert f"ds2: standard input: {found}" in capsys.readouterr().err


def test_deeply_nested_json_is_one_line(checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nested = "[" * 100_000 + "]" * 100_000
    record("a.wav", 0.5)
    Path("m.jsonl").write_text(json.dumps({"audio_filepath": "a.wav", "duration": 0.5, "text": "cab"}) + "\n")
    Path("p.jsonl.partial").write_text(nested + "\n\n")
    Path("config.json").write_text(nested)
    options = ("m.jsonl", "--model", checkpoint, "--decoder", "greedy", "--output", "p.jsonl", "--resume")
    for command in (("transcribe", *options), ("evaluate", *options), ("flops", "config.json", "--shape", "1,16")):
        assert run(*command) == 2
        error = capsys.readouterr().err
        assert "expected " in error
        assert error.count("\n") == 1
        assert len(error) < 300
