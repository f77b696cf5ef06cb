"""JSON lines that are kept as they finish, and how a run that was interrupted goes on with them.

`FILE.partial` takes a line for each piece of work as it finishes. In the end they are written to FILE in the order of
the work, and the partial file goes; until then an older FILE stays as it is. Every line tells by which run it was made,
so that results of different models never mix. What has failed is done again by a run that goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech2.errors import OptionError
from deepspeech2.files import naming_unwritten, replacing
from deepspeech2.printing import printable
from deepspeech2.speech.single_writer import single_writer

Key = tuple[Hashable, ...]
"""What tells a piece of work from the others; the name of its audio comes first."""

_GOES_ON = "; what is done is in it, and the same command with --resume goes on"


@dataclass(frozen=True, slots=True)
class LineForm:
    """The form of a command's lines.

    Attributes:
        name: What messages call a line.
        key_of: The key of a line, None of one that says what failed. Of what is no such line it raises KeyError,
            TypeError or ValueError.
        remedy: How the work that a line is of is asked for again.
    """

    name: str
    key_of: Callable[[dict[str, Any]], Key | None]
    remedy: str


class ResumableLines:
    """The lines of one run, and of the run it goes on with. One process at a time has them.

    A device or a pipe is written to directly, and cannot be gone on with.

    Args:
        path: FILE; a link is followed.
        keys: What there is to do, in the order FILE has it.
        run: A digest of what does it, in every line.
        form: What the lines look like.
        resume: Take over what is in `FILE.partial`, or in FILE where there is none.

    Raises:
        OptionError: Another process writes the file, it cannot be written, there is an interrupted run and `resume` was
            not given, or the lines taken over are damaged, of another run, or of what is not among the keys.
    """

    def __init__(self, path: Path, keys: Sequence[Key], run: str, form: LineForm, *, resume: bool) -> None:
        if path.is_dir():
            raise OptionError(f"{path}: expected a file to write, found a folder")
        self._directly = path.exists() and not path.is_file()
        # A link to a pipe (/dev/stdout) has no name it leads to.
        self._path = Path(os.path.realpath(path)) if path.is_symlink() and not self._directly else path
        if self._directly and resume:
            raise OptionError(
                f"{path}: expected a file that an interrupted run can go on with, found a device or a pipe"
            )
        self._partial = self._path if self._directly else self._path.with_name(self._path.name + ".partial")
        self._run, self._form = run, form
        self._lines: list[str | None] = [None] * len(keys)
        with ExitStack() as stack:
            if not self._directly:
                if not stack.enter_context(single_writer(self._path.with_name(f".{self._path.name}.lock"))):
                    raise OptionError(
                        f"{path} is being written by another ds2; wait for it to end, or write to another file"
                    )
                if self._partial.is_dir():
                    raise OptionError(f"{self._partial}: expected a file or nothing there, found a folder")
                if self._partial.exists() and not resume:
                    raise OptionError(
                        f"{self._partial} is of an interrupted run; add --resume to go on with it, or remove it"
                    )
            if resume:
                self._take_over(self._partial if self._partial.exists() else self._path, keys)
            self._done = sum(line is not None for line in self._lines)
            try:
                if resume:  # what a kill cut short is not written again
                    self._write(self._partial)
                self._file = self._partial.open("a" if resume else "w", encoding="utf-8")
            except OSError as error:
                raise OptionError(f"{self._partial}: cannot be written: {error.strerror}") from error
            self._lock = stack.pop_all()

    def __enter__(self) -> ResumableLines:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._lock:
            with suppress(OSError) if kind else nullcontext():  # what could not be written then cannot be written now
                self._file.close()
            if not self._done and not self._directly:
                self._partial.unlink(missing_ok=True)

    @property
    def kept(self) -> bool:
        """Whether there is anything that an interrupted run goes on with."""
        return self._done > 0 and not self._directly

    def earlier(self, index: int) -> dict[str, Any] | None:
        """The line of a piece of work, None as long as there is none."""
        line = self._lines[index]
        if line is None:
            return None
        record: dict[str, Any] = json.loads(line)
        return record

    def has(self, index: int) -> bool:
        """Whether there is a line of a piece of work."""
        return self._lines[index] is not None

    def add(self, index: int, record: dict[str, Any], *, failed: bool = False) -> None:
        """Write the line of a piece of work, at once.

        Raises:
            OptionError: The disk is full.
        """
        line = json.dumps(record | {"run": self._run}, ensure_ascii=False)
        with naming_unwritten(self._partial, _GOES_ON if self.kept else ""):
            self._file.write(line + "\n")
            self._file.flush()
        self._lines[index] = line
        self._done += not failed

    def finish(self) -> None:
        """Write FILE, in place of the partial file; where nothing has succeeded, an older one stays.

        Raises:
            OptionError: The disk is full.
        """
        if self._directly or not self._done:
            return
        self._file.close()
        hint = f"; {self._partial} has all that is done, and the same command with --resume writes it"
        with naming_unwritten(self._path, hint):
            self._write(self._path)
        self._partial.unlink()

    def _write(self, path: Path) -> None:
        with replacing(path) as file:
            file.writelines(line + "\n" for line in self._lines if line is not None)

    def _take_over(self, path: Path, keys: Sequence[Key]) -> None:
        places: dict[Key, list[int]] = {}
        for index in reversed(range(len(keys))):
            places.setdefault(keys[index], []).append(index)
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        except OSError as error:
            raise OptionError(f"{path}: cannot be read: {error.strerror}") from error
        for number, stored in enumerate(lines, start=1):
            if not stored.strip():
                continue
            try:
                line = stored.decode()  # each by itself: a kill may have cut a character of the last one in two
                record = json.loads(line)
                key, run = self._form.key_of(record), record["run"]
                free = None if key is None else places.get(key)
            except (ValueError, KeyError, TypeError, RecursionError):
                if path == self._partial and number == len(lines):
                    return  # a kill cut the last line short
                raise OptionError(f"{path}:{number}: expected {self._form.name}") from None
            if run != self._run:
                raise OptionError(
                    f"{path}:{number} was made with another model or decoder (run {run}, this is {self._run}); "
                    "give the same options, or write to another file"
                )
            if key is not None and free is None:  # to write the file without it would throw it away
                raise OptionError(
                    f"{path}:{number} is of {printable(str(key[0]))}, which is not asked for now; "
                    f"{self._form.remedy}, or write to another file"
                )
            if free:  # of work that is asked for twice each takes one
                self._lines[free.pop()] = line
