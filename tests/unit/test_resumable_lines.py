"""What is kept of a run: who can go on with it, what it leaves alone, and that one process has it at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deepspeech2.errors import AudioError, OptionError
from deepspeech2.files import check_writable
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.evaluation import compare
from deepspeech2.speech.predictions_file import PredictionsFile
from deepspeech2.speech.resumable_lines import Key, LineForm, ResumableLines
from deepspeech2.speech.single_writer import single_writer


def key_of(record: dict[str, Any]) -> Key | None:
    return None if record["failed"] else (record["name"],)


FORM = LineForm("a line of the test", key_of, "give the same names")


def lines_of(path: Path, names: str, run: str = "one", *, resume: bool = False) -> ResumableLines:
    return ResumableLines(path, [(name,) for name in names], run, FORM, resume=resume)


def line(name: str, run: str = "one", *, failed: bool = False) -> str:
    return json.dumps({"name": name, "failed": failed, "run": run}) + "\n"


def add(lines: ResumableLines, index: int, name: str, *, failed: bool = False) -> None:
    lines.add(index, {"name": name, "failed": failed}, failed=failed)


def had(lines: ResumableLines, count: int) -> list[bool]:
    return [lines.has(index) for index in range(count)]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("resume", [False, True])
def test_where_nothing_succeeds_an_older_file_stays(tmp_path: Path, resume: bool) -> None:
    out = tmp_path / "out"
    out.write_text("" if resume else line("a", "another"))
    before = out.read_bytes()
    with lines_of(out, "ab", resume=resume) as lines:
        add(lines, 0, "a", failed=True)
        add(lines, 1, "b", failed=True)
        assert not lines.kept
        lines.finish()
    assert out.read_bytes() == before
    assert names_in(tmp_path) == ["out"]


@pytest.mark.parametrize("older", [line("a", "another") + line("b", "another"), line("a") + line("c")])
def test_a_run_over_an_older_file_can_be_gone_on_with(tmp_path: Path, older: str) -> None:
    """The older file is of another model, or of more than is asked for now: it is to be replaced, not gone on with."""
    out = tmp_path / "out"
    out.write_text(older)
    with lines_of(out, "ab") as lines:
        add(lines, 1, "b")
    assert out.read_text() == older
    with lines_of(out, "ab", resume=True) as lines:
        assert had(lines, 2) == [False, True]
        add(lines, 0, "a")
        lines.finish()
    assert out.read_text() == line("a") + line("b")
    assert names_in(tmp_path) == ["out"]


@pytest.mark.parametrize("ended", [True, False])
def test_what_failed_is_done_again(tmp_path: Path, ended: bool) -> None:
    out = tmp_path / "out"
    with lines_of(out, "abc") as lines:
        add(lines, 0, "a", failed=True)
        add(lines, 1, "b")
        add(lines, 2, "c", failed=True)
        if ended:
            lines.finish()
    kept = out if ended else tmp_path / "out.partial"
    assert kept.read_text() == line("a", failed=True) + line("b") + line("c", failed=True)
    with lines_of(out, "abc", resume=True) as lines:
        assert had(lines, 3) == [False, True, False]
        assert lines.earlier(1) == {"name": "b", "failed": False, "run": "one"}
        add(lines, 0, "a", failed=True)
        add(lines, 2, "c")
        lines.finish()
    assert out.read_text() == line("a", failed=True) + line("b") + line("c")


def test_work_asked_for_twice_has_a_line_each(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with lines_of(out, "aba") as lines:
        add(lines, 0, "a")
    with lines_of(out, "aba", resume=True) as lines:
        assert had(lines, 3) == [True, False, False]
        add(lines, 2, "a")
        add(lines, 1, "b")
        lines.finish()
    assert out.read_text() == line("a") + line("b") + line("a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (line("a") + line("c"), r"out\.partial:2 is of c, which is not asked for now; give the same names, or"),
        (line("a") + line("b", "two"), r"out\.partial:2 was made with another model or decoder \(run two, this is one"),
        (line("a").replace('"a"', '["a"]'), r"out\.partial:1: expected a line of the test"),
        ("[]\n", r"out\.partial:1: expected a line of the test"),
        (line("a")[:-9] + "\n", r"out\.partial:1: expected a line of the test"),
    ],
)
def test_what_does_not_fit_is_refused_and_stays(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "out.partial").write_text(content)
    with pytest.raises(OptionError, match=message):
        lines_of(tmp_path / "out", "ab", resume=True)
    assert (tmp_path / "out.partial").read_text() == content
    assert names_in(tmp_path) == ["out.partial"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "there" / "real")
    with lines_of(tmp_path / "out", "a") as lines:
        add(lines, 0, "a")
        assert names_in(tmp_path / "there") == [".real.lock", "real.partial"]
        with pytest.raises(OptionError, match="being written by another"):
            lines_of(tmp_path / "there" / "real", "a", resume=True)
        lines.finish()
    assert names_in(tmp_path / "there") == ["real"]
    assert (tmp_path / "out").read_text() == line("a")


def test_one_run_at_a_time_has_a_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with lines_of(out, "ab") as lines:
        add(lines, 0, "a")
        for resume in (False, True):
            with pytest.raises(OptionError, match="out is being written by another ds2; wait for it to end"):
                lines_of(out, "ab", resume=resume)
        add(lines, 1, "b")
        lines.finish()
    assert out.read_text() == line("a") + line("b")
    with lines_of(out, "ab", resume=True) as lines:
        assert had(lines, 2) == [True, True]


def test_a_kill_lets_go_of_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with single_writer(lock) as held:
            assert not held
        assert lock.exists()
        other.kill()
        other.wait()
    assert lock.exists()
    with single_writer(lock) as held, single_writer(lock) as again:
        assert (held, again) == (True, False)
    assert not lock.exists()


def test_a_lock_that_was_removed_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the file and locking it another process ends, which removes it."""
    lock, opened = tmp_path / "lock", []
    original = Path.open

    def opened_then_removed(path: Path, *given: Any) -> Any:
        opened.append(path)
        file = original(path, *given)
        if len(opened) == 1:
            path.unlink()
        return file

    monkeypatch.setattr(Path, "open", opened_then_removed)
    with single_writer(lock) as held, single_writer(lock) as again:
        assert (held, again) == (True, False)
    assert opened == [lock] * 3


def test_a_disk_without_locks_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with lines_of(tmp_path / "out", "a") as lines:
        add(lines, 0, "a")
        lines.finish()
    assert (tmp_path / "out").read_text() == line("a")
    assert names_in(tmp_path) == ["out"]


def test_predictions_of_two_channels_are_told_apart(tmp_path: Path) -> None:
    """Both sides of a call, with the same words; that of the first could not be read."""
    sides = [Utterance(Path("call.wav"), 2.0, "yes", channel=channel) for channel in (0, 1)]

    def earlier(utterances: Sequence[Utterance]) -> list[str | None]:
        with PredictionsFile(tmp_path / "p", utterances, "one", resume=True) as file:
            return [item and item.hypothesis for item in file.earlier]

    with PredictionsFile(tmp_path / "p", sides, "one") as file:
        file.add(sides[0], AudioError("stale file handle"))
        file.add(sides[1], compare(sides[1], "yet", 2.0))
        file.finish()
    assert [json.loads(found).get("channel") for found in (tmp_path / "p").read_text().splitlines()] == [0, 1]
    assert earlier(sides) == [None, "yet"]
    with PredictionsFile(tmp_path / "p", sides, "one", resume=True) as file:
        file.add(sides[0], compare(sides[0], "yes", 2.0))
        file.finish()
    assert earlier(sides) == ["yes", "yet"]
    assert earlier(sides[::-1]) == ["yet", "yes"]


def test_a_folder_that_is_not_there_is_named_and_not_the_lock(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        lines_of(tmp_path / "lost" / "out.jsonl", "a")
    assert str(caught.value) == f"{tmp_path}/lost: cannot be written: No such file or directory"


def test_a_lock_of_another_user_that_nobody_holds_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "x.lock"
    lock.touch()
    usual = Path.open

    def opened(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if self == lock and mode != "rb":
            raise PermissionError(13, "Permission denied", str(self))
        return usual(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", opened)
    with single_writer(lock) as first, single_writer(lock) as second:
        assert (first, second) == (True, False)


def test_a_partial_file_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.partial").mkdir()
    for resume in (False, True):
        with pytest.raises(OptionError, match=r"out\.jsonl\.partial: expected a file or nothing there, found a folder"):
            lines_of(tmp_path / "out.jsonl", "a", resume=resume)


def test_a_link_to_a_pipe_is_written_to(tmp_path: Path) -> None:
    end, start = os.pipe()
    (tmp_path / "link").symlink_to(f"/proc/self/fd/{start}")
    check_writable(tmp_path / "link")
    with lines_of(tmp_path / "link", "a") as file:
        add(file, 0, "a")
        file.finish()
    os.close(start)
    with os.fdopen(end, "rb") as read:
        assert read.read().decode() == line("a")
