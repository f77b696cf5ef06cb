"""Language models read from ARPA files by the native core, with a cache that makes the second time instant."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import stat
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

from deepspeech2.ctc import _core
from deepspeech2.ctc.kenlm_model import MARKERS
from deepspeech2.errors import LanguageModelError, OptionError
from deepspeech2.files import replacement

PIECE = 1 << 20
UNUSED_DAYS = 30
"""How long a file of the cache is kept whose time no run has renewed."""
DIGITS = 32
MAGIC = b"DS2NGRAM"
"""What every file of the cache begins with; written by the core."""
_OURS = re.compile(rf"[0-9a-f]{{{DIGITS}}}\.ngram|.+\.[0-9a-f]{{16}}\.ngram", re.DOTALL)  # the second: once for a path
_BEGUN = re.compile(rf"\.[0-9a-f]{{{DIGITS}}}\.ngram\.[a-z0-9_]{{8}}\.partial")  # by `replacement`


class NgramModel:
    """A backoff n-gram model of any order in a flat hash: some ten nanoseconds a query, equal to KenLM.

    The parsed model is kept in a cache file that later runs map into memory: one for each content, wherever the ARPA
    file lies and however often it is copied. It is built anew when the ARPA file has changed or the cache is damaged.
    Where no cache can be written, none is. Pickles by path.

    Opening reads the whole ARPA file once for its checksum, in every process that
    unpickles the model, too; with ``cache=False`` it parses instead. Opening renews the time of the cache file, where
    this user owns it or may write it. When the cache of another model is written, files of the cache whose time was not
    renewed for `UNUSED_DAYS` are removed, and what killed writers began more than a day ago; other files never.

    Attributes:
        path: The ARPA file.
        order: The n of its n-grams.
        core: The native model, for the native search.
    """

    def __init__(self, path: str | Path, *, cache: bool = True) -> None:
        """Read an ARPA file, gzipped or not, or its cache.

        Args:
            path: The ARPA file.
            cache: Whether to read and write the cache; see `cache_path`.

        Raises:
            LanguageModelError: The file is missing, cut short, or not ARPA; the message names the line.
        """
        self.path = Path(path)
        self._cache = cache
        self.core = self._open(cache)
        self.order: int = self.core.order

    def _open(self, cache: bool) -> _core.Ngram:
        try:
            status = self.path.stat()
        except OSError as error:
            raise LanguageModelError(f"{self.path}: cannot read the language model: {error.strerror}.") from None
        # What can be read only once (a pipe) is not read for its checksum first.
        target = cache_path(self.path) if cache and stat.S_ISREG(status.st_mode) else None
        if target is not None:
            model = _core.Ngram.from_file(os.fsencode(target), *_source(target, status))
            if model is not None:
                with suppress(OSError):
                    os.utime(target)  # when it was last used, whatever the file system keeps of that
                return model
        model = _parse(self.path)
        if target is not None:
            # A cache is a convenience: a read-only or full disk must not stop the decoding.
            with suppress(OSError, RuntimeError, OptionError):
                if _changes(self.path.stat()) == _changes(status):  # else the name may be that of another content
                    _save(model, target, status)
                    # From now on share the pages of the file with other processes instead of holding a copy.
                    model = _core.Ngram.from_file(os.fsencode(target), *_source(target, status)) or model
        return model

    @cached_property
    def _words(self) -> tuple[str, ...]:
        return tuple(word for word in self.core.words() if word not in MARKERS)

    def words(self) -> Sequence[str]:
        """The vocabulary without its markers."""
        return self._words

    def number(self, word: str) -> int:
        """The core's number of a word, -1 for an unknown one."""
        try:
            return self.core.find(word)
        except UnicodeEncodeError:
            return -1

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and word not in ("<unk>", "<UNK>") and self.number(word) >= 0

    def begin(self) -> int:
        """The state after ``<s>``."""
        return self.core.begin

    def null(self) -> int:
        """The state without any context."""
        return 0

    def score(self, state: int, word: str) -> tuple[float, int]:
        """log10 P(word | state) and the state after it."""
        return self.core.score(state, self.number(word))

    def listed(self, state: int, word: str) -> tuple[float, float]:
        """log10 P(word | state) if a longer n-gram than a unigram gives it, else -inf; and the backoff of others."""
        return self.core.listed(state, self.number(word))

    def __reduce__(self) -> tuple[partial[NgramModel], tuple[Path]]:
        return partial(NgramModel, cache=self._cache), (self.path.absolute(),)


def cache_path(path: Path) -> Path | None:
    """Where the parsed form of an ARPA file is kept.

    In ``$DEEPSPEECH2_CACHE``, otherwise ``deepspeech2`` in ``$XDG_CACHE_HOME`` or ``~/.cache``, named for what the file
    holds: copies of it and checkouts of a repository share one. The whole file is read for that.

    Args:
        path: The ARPA file.

    Returns:
        The cache file, which need not exist; None where there is no home directory to keep it in.

    Raises:
        LanguageModelError: The ARPA file cannot be read.
    """
    root = os.environ.get("DEEPSPEECH2_CACHE")
    if not root:
        base = os.environ.get("XDG_CACHE_HOME")
        try:
            root = str((Path(base) if base else Path("~/.cache").expanduser()) / "deepspeech2")
        except RuntimeError:  # neither HOME nor an entry for this user
            return None
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
    except OSError as error:
        raise LanguageModelError(f"{path}: cannot read the language model: {error.strerror}.") from None
    return Path(root) / f"{digest}.ngram"


def _source(target: Path, status: os.stat_result) -> tuple[int, int]:
    """The two numbers by which the cache knows its ARPA file: its size, and its checksum as far as 64 bits hold it."""
    return status.st_size, int(target.name[:16], 16)


def _changes(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _parse(path: Path) -> _core.Ngram:
    reader = _core.ArpaReader()
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"  # a pipe cannot be read again from its beginning
            read = gzip.GzipFile(fileobj=raw).read if packed else raw.read
            while piece := read(PIECE):
                reader.feed(piece)
        return reader.finish()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LanguageModelError(f"{path}: the gzip file is damaged or was cut short: {error}.") from None
    except OSError as error:
        raise LanguageModelError(f"{path}: cannot read the language model: {error.strerror}.") from None
    except ValueError as error:
        raise LanguageModelError(f"{path}: {error}; check or rebuild the ARPA file.") from None


def _save(model: _core.Ngram, target: Path, status: os.stat_result) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_unused(target.parent)
    with replacement(target) as temporary:  # a reader sees a whole file or none
        model.save(os.fsencode(temporary), *_source(target, status))


def _remove_unused(folder: Path) -> None:
    """Take out what was not opened for `UNUSED_DAYS` and what killed writers left for a day; nothing but our own.

    The folder may be one the user keeps other files in. A process that has a file mapped keeps its pages.
    """
    day, now = 24 * 3600, time.time()
    with suppress(OSError):  # a folder that may be written but not listed
        for file in folder.iterdir():
            with suppress(OSError):  # another process was faster, or may and this one may not
                status = file.lstat()
                if not stat.S_ISREG(status.st_mode):  # a link is the user's, a pipe would be waited for
                    continue
                age = now - status.st_mtime
                unused = age > UNUSED_DAYS * day and _OURS.fullmatch(file.name) and _begins_as_cache(file)
                if unused or (age > day and _BEGUN.fullmatch(file.name)):
                    file.unlink()


def _begins_as_cache(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC
