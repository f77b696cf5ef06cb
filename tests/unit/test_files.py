"""Files are written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from deepspeech2.errors import OptionError
from deepspeech2.files import check_writable, replacement, replacing


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "result.txt"
    target.write_text("old")
    with replacing(target) as file:
        file.write("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, failure: type[BaseException]) -> None:
    target = tmp_path / "result.txt"
    target.write_text("old")
    with pytest.raises(failure), replacing(target) as file:
        file.write("half")
        raise failure
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_are_those_of_an_ordinary_new_file(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    with replacement(tmp_path / "replaced") as temporary:
        temporary.write_bytes(b"x")
    assert (tmp_path / "replaced").stat().st_mode == ordinary.stat().st_mode


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="found a folder"), replacing(tmp_path):
        pass
    with pytest.raises(OptionError, match="nowhere"), replacing(tmp_path / "nowhere" / "file"):
        pass


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "file", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with replacing(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_what_is_no_regular_file_is_written_directly(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with replacing(pipe) as file:
        file.write("through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_place_can_be_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("old")
    for good in (tmp_path / "new.txt", tmp_path / "there.txt", Path("/dev/null")):
        check_writable(good)
    assert [path.name for path in tmp_path.iterdir()] == ["there.txt"]
    assert (tmp_path / "there.txt").read_text() == "old"
    with pytest.raises(OptionError, match="cannot be written: No such file or directory"):
        check_writable(tmp_path / "lost" / "new.txt")
    with pytest.raises(OptionError, match="found a folder"):
        check_writable(tmp_path)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), OSError("2311316 requested and 151488 written")]
)
def test_a_full_disk_is_named_with_the_file(tmp_path: Path, error: OSError) -> None:
    target = tmp_path / "result"
    target.write_text("before")
    with pytest.raises(OptionError, match=r"result: cannot be written: .*[Nn]o space left"), replacing(target) as file:
        file.write("half")
        raise error
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(OSError, match="another file"), replacing(target):
        raise OSError(errno.ENOENT, "another file")


@pytest.mark.parametrize("letter", ["x", "я", "字", "𝄞"])
def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path: Path, letter: str) -> None:
    name = letter * (251 // len(letter.encode())) + ".txt"
    for text in ("one", "two"):
        with replacing(tmp_path / name) as file:
            file.write(text)
            (begun,) = {path.name for path in tmp_path.iterdir()} - {name}
            assert begun.startswith(".") and f"{letter}.txt." in begun and begun.endswith(".partial")
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, text)]
