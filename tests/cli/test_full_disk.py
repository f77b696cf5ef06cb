"""What a full disk is answered with: the file, what is kept and the way on."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli_runs import CLIP, run

OFFSETS = (0.0, 2.0, 4.0, 6.0)


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    records = [{"audio_filepath": str(CLIP), "offset": offset, "duration": 1.5, "text": "cab"} for offset in OFFSETS]
    (tmp_path / "pieces.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path / "pieces.jsonl"


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """The system lets no file grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("verb", ["transcribe", "evaluate"])
def test_a_full_disk_keeps_what_is_done(
    checkpoint: Path, pieces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    command = (verb, pieces, "--model", checkpoint, "--decoder", "greedy", "--output")
    assert run(*command, tmp_path / "whole.jsonl") == 0
    whole = (tmp_path / "whole.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == len(OFFSETS)
    capsys.readouterr()

    with room_for(len(lines[0]) + len(lines[1]) + 20):  # two lines and the beginning of the third
        assert run(*command, tmp_path / "p.jsonl") == 2
    error = capsys.readouterr().err
    assert f"{tmp_path}/p.jsonl.partial: cannot be written: File too large; what is done is in it" in error
    assert "--resume goes on" in error
    assert error.count("\n") == 1
    assert (tmp_path / "p.jsonl.partial").read_bytes().startswith(lines[0] + lines[1])
    assert run(*command, tmp_path / "p.jsonl", "--resume") == 0
    assert (tmp_path / "p.jsonl").read_bytes() == whole


@pytest.mark.parametrize("verb", ["transcribe", "evaluate"])
def test_a_disk_that_is_full_at_once_promises_nothing(
    checkpoint: Path, pieces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    with room_for(20):
        assert run(verb, pieces, "--model", checkpoint, "--decoder", "greedy", "--output", tmp_path / "p.jsonl") == 2
    error = capsys.readouterr().err
    assert "p.jsonl.partial: cannot be written: File too large" in error
    assert "resume" not in error
    assert not (tmp_path / "p.jsonl.partial").exists()


@pytest.mark.parametrize("command", [["transcribe", "PIECES"], ["evaluate", "PIECES"], ["flops", "default"]])
def test_standard_output_is_named(
    checkpoint: Path,
    pieces: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    options = () if command[0] == "flops" else ("--model", checkpoint, "--decoder", "greedy")
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(*(pieces if word == "PIECES" else word for word in command), *options) == 2
    assert capsys.readouterr().err == ("ds2: error: standard output: cannot be written: No space left on device\n")


def test_closed_standard_output_takes_nothing_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in ([], ["--format", "json", "--output", tmp_path / "counts.json"]):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", None)
            assert run("flops", "default", *arguments) == 0
            assert sys.stdout is not None  # what it is printed to instead
            sys.stdout.close()
    assert json.loads((tmp_path / "counts.json").read_text())
