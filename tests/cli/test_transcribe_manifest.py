"""`ds2 transcribe` of a manifest: keyed lines in its order, kept through kills, gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli_runs import CLIP, run
from deepspeech2.speech.checkpoints import load_model
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.recognizer import Recognizer


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Thirty pieces of the clip, each copied to a file of its own."""
    lines = []
    for index in range(30):
        (tmp_path / f"{index}.flac").write_bytes(CLIP.read_bytes())
        lines.append(json.dumps({"audio_filepath": f"{index}.flac", "offset": round(0.15 * index, 2), "duration": 4.0}))
    (tmp_path / "many.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "many.jsonl"


def expected(manifest: Path, checkpoint: Path) -> list[tuple[str, float, str]]:
    recognizer = Recognizer(load_model(checkpoint))
    utterances = read_manifest(manifest, texts=False)
    return [(str(item.audio_path), item.offset, recognizer.transcribe(item).text) for item in utterances]


def found(lines: str) -> list[tuple[str, float, str]]:
    return [(record["source"], record["offset"], record["text"]) for record in map(json.loads, lines.splitlines())]


def test_lines_are_keyed_and_in_order(checkpoint: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = expected(manifest, checkpoint)
    assert len({text for _, _, text in wanted}) > 10
    options = ("--model", checkpoint, "--decoder", "greedy")
    assert run("transcribe", manifest, *options, "--workers", "2") == 0
    assert found(capsys.readouterr().out) == wanted
    (manifest.parent / "1.flac").unlink()
    assert run("transcribe", manifest, *options, "--format", "txt") == 1
    output = capsys.readouterr()
    assert output.out.splitlines() == [f"{source}\t{text}" for source, _, text in wanted[:1] + wanted[2:]]
    assert "1.flac: no such file" in output.err
    assert "1 of 30 files" in output.err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_an_interrupted_run_goes_on(
    checkpoint: Path, manifest: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    out, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"
    arguments = ["transcribe", manifest, "--model", checkpoint, "--decoder", "greedy", "--output", out]
    wanted = expected(manifest, checkpoint)
    # Where SIGINT is ignored, as in a background job of a shell, Python inherits that.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}\nfrom deepspeech2.cli.main import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (partial.exists() and partial.read_text().count("\n") >= 2):
            time.sleep(0.005)
        process.send_signal(number)
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert ("--resume goes on" in errors) == (number == signal.SIGINT)
    kept = partial.read_text().splitlines()
    assert 2 <= len(kept) < 30
    assert not out.exists()
    # What is done is not done again: it could not be, for its audio is gone.
    for line in kept[:-1]:
        Path(json.loads(line)["source"]).unlink()
    assert run(*arguments, "--resume") == 0
    assert found(out.read_text()) == wanted
    assert not partial.exists()
    assert run(*arguments, "--resume") == 0  # nothing is left to do


def test_where_nothing_can_be_read_an_older_file_stays(
    checkpoint: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on the day its disk is not there."""
    (tmp_path / "few.jsonl").write_text("".join(manifest.read_text().splitlines(keepends=True)[:2]))
    arguments = ["transcribe", tmp_path / "few.jsonl", "--model", checkpoint, "--decoder", "greedy", "--output"]
    assert run(*arguments, tmp_path / "out.jsonl") == 0
    before = (tmp_path / "out.jsonl").read_bytes()
    for index in range(2):
        (tmp_path / f"{index}.flac").unlink()
    for name in ("out.jsonl", "new.jsonl"):
        capsys.readouterr()
        assert run(*arguments, tmp_path / name) == 1
        assert f"2 of 2 files could not be read; nothing is written to {tmp_path / name}" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*[wt].jsonl*")) == ["few.jsonl", "out.jsonl"]
    assert run(*arguments, tmp_path / "out.jsonl", "--resume") == 0
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_an_interrupted_run_that_has_done_nothing_promises_nothing(
    checkpoint: Path,
    manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recognizer, "outcomes", interrupted)
    arguments = ("transcribe", manifest, "--model", checkpoint, "--decoder", "greedy")
    assert run(*arguments, "--output", tmp_path / "out.jsonl") == 130
    assert "--resume" not in capsys.readouterr().err
    assert not list(tmp_path.glob("*out.jsonl*"))


def test_a_folder_is_gone_on_with(checkpoint: Path, manifest: Path, tmp_path: Path) -> None:
    arguments = ("transcribe", manifest, "--model", checkpoint, "--decoder", "greedy", "--format", "txt")
    lost = manifest.parent / "7.flac"
    data = lost.read_bytes()
    lost.unlink()
    assert run(*arguments, "--output-dir", tmp_path / "texts") == 1
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "texts").iterdir()}
    assert len(first) == 29
    lost.write_bytes(data)
    assert run(*arguments, "--output-dir", tmp_path / "texts", "--resume") == 0
    second = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "texts").iterdir()}
    assert second.items() > first.items()
    assert (tmp_path / "texts" / "7-1.050.txt").read_text().strip() == expected(manifest, checkpoint)[7][2]


@pytest.mark.parametrize("name", ["manifest.test", "manifest.train", "manifest", "prepared/manifest.jsonl"])
def test_manifests_by_other_names(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"audio_filepath": str(CLIP), "offset": 1.5, "duration": 4.0, "text": "a"}) + "\n")
    given = path.parent if name.startswith("prepared") else path
    options = ("--model", checkpoint, "--decoder", "greedy")
    assert run("transcribe", given, *options) == 0
    assert found(capsys.readouterr().out) == expected(path, checkpoint)
    assert run("evaluate", given, *options) == 0
    assert "1 utterances" in capsys.readouterr().out
    before = path.read_bytes()
    assert run("transcribe", given, *options, "--output", path) == 2
    assert "would be written over" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_audio_without_an_extension_is_audio(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip").write_bytes(CLIP.read_bytes())
    options = ("--model", checkpoint, "--decoder", "greedy")
    assert run("transcribe", tmp_path / "clip", *options) == 0
    assert capsys.readouterr().out.strip() == Recognizer(load_model(checkpoint)).transcribe(CLIP).text
    assert run("transcribe", tmp_path, *options) == 2
    assert "expected a folder with wav.scp (Kaldi) or manifest.jsonl (ds2 prepare)" in capsys.readouterr().err


def test_standard_input_stays_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("transcribe", "-", "--engine", "ray") == 2
    assert "standard input cannot be sent to Ray" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--resume",), "give one of them"),
        (("--output", "OUT", "--format", "srt"), "goes without --format srt"),
        (("--format", "srt"), "found 30 pieces; give --output-dir"),
        (("--format", "tsv"), "found 30 pieces; give --output-dir"),
        (("--output", "OUT", "--output-dir", "OUT"), "goes without --output-dir"),
        (("--output", "lost/out.jsonl"), "cannot be written"),
        (("--workers", "0"), "at least one worker"),
        (("--workers", "0", "--engine", "ray"), "at least one worker"),
        (("--ray-address", "auto"), "belongs to --engine ray"),
        (("--output", "OUT", "--model", "smal"), "did you mean 'small'"),
    ],
)
def test_mistakes_are_one_line(
    checkpoint: Path,
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    before = sorted(tmp_path.iterdir())
    placed = [tmp_path / "out.jsonl" if option == "OUT" else option for option in options]
    model = () if "--model" in options else ("--model", checkpoint)
    assert run("transcribe", manifest, "--decoder", "greedy", *model, *placed) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_results_do_not_go_to_a_pipe(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert run("transcribe", manifest, "--output", tmp_path / "pipe") == 2
    assert "found a device or a pipe; leave --output out and transcripts are printed" in capsys.readouterr().err
    assert not (tmp_path / "pipe.partial").exists()
