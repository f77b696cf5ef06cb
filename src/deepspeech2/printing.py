"""What is printed: names that cannot disturb a terminal, and standard output that cannot be written."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from deepspeech2.errors import OptionError

# Control characters, lone halves of pairs, separators of lines and paragraphs.
_ESCAPED = {"Cc", "Cs", "Zl", "Zp"}
_DIRECTIONS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def utf8(name: str | os.PathLike[str]) -> str:
    r"""A name with ``\xff`` for bytes that are not UTF-8, which JSON and text files cannot hold."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def printable(text: str | os.PathLike[str]) -> str:
    r"""A name or a message on one line that moves no cursor: control characters as ``\x1b``, line breaks as ``\n``.

    Backslashes stay as they are, so that what has been escaped once stays as it is.

    Example:
        >>> printable("a\x1b[2J.wav")
        'a\\x1b[2J.wav'
    """
    given = utf8(text)
    if given.isascii() and given.isprintable():
        return given
    return "".join(_escaped(character) for character in given)


def _escaped(character: str) -> str:
    if unicodedata.category(character) in _ESCAPED or character in _DIRECTIONS:
        return character.encode("unicode_escape").decode()
    return character


@contextmanager
def standard_output() -> Iterator[None]:
    """Name standard output where it cannot be written, such as on a full disk.

    Raises:
        OptionError: It cannot be written. A reader that has gone away is a `BrokenPipeError` as ever.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is still in the buffer would fail once more at the end.
        with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise OptionError(f"standard output: cannot be written: {error.strerror or error}") from error
