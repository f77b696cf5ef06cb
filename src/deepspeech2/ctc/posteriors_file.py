"""Reads files of CTC posteriors: .npy with one utterance, .npz with one or many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspeech2.errors import PosteriorsError

# Names with a meaning of their own in an .npz file; every other array is an utterance.
RESERVED = frozenset({"offsets", "transcripts", "labels"})


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance of a file; its array is read when asked for.

    Attributes:
        name: The file's stem, followed by the array's name or the utterance's number where there are several.
        load: Returns the array, unchecked.
    """

    name: str
    load: Callable[[], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class PosteriorsFile:
    """What a file holds.

    Attributes:
        path: The file.
        utterances: Its utterances in the order of the file.
        labels: The labels it names for its columns, without the blank, or None.
        transcripts: What was said in each utterance, or None.
    """

    path: Path
    utterances: tuple[Utterance, ...]
    labels: tuple[str, ...] | None = None
    transcripts: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self.utterances)


def read_posteriors(path: str | Path) -> PosteriorsFile:
    """Open a file of posteriors without judging its values; the decoder checks those.

    An .npy file is one utterance, (time, columns). In an .npz file each array is an utterance under its own name;
    or all are stacked in `log_probs` (frames of all, columns) with `offsets`, n + 1 rising whole numbers: utterance i
    is rows offsets[i] to offsets[i + 1]. The arrays `labels` (one string for each column but the blank) and
    `transcripts` (one for each utterance) may come along. Pickled objects are refused.

    Args:
        path: The file.

    Returns:
        Its utterances; their arrays are read later.

    Raises:
        PosteriorsError: The file is missing, neither .npy nor .npz, corrupt, or its offsets do not fit.
    """
    path = Path(path)
    stored = _open(path)
    if isinstance(stored, np.ndarray):
        return PosteriorsFile(path, (Utterance(path.stem, lambda: stored),))
    names = [name for name in stored if name not in RESERVED]
    if not names:
        raise PosteriorsError(f"{path}: holds no posteriors, only {_names(stored)}.")
    labels = _strings(path, "labels") if "labels" in stored else None
    transcripts = _strings(path, "transcripts") if "transcripts" in stored else None
    if "offsets" in stored:
        utterances = _stacked(path, stored)
    else:
        start = f"{path.stem}/" if len(names) > 1 else ""
        utterances = tuple(
            Utterance(f"{start}{name}" if start else path.stem, partial(_array, path, name)) for name in names
        )
    if transcripts is not None and len(transcripts) != len(utterances):
        raise PosteriorsError(f"{path}: {len(transcripts)} transcripts for {len(utterances)} utterances.")
    return PosteriorsFile(path, utterances, labels, transcripts)


def _open(path: Path) -> NDArray[Any] | list[str]:
    """Return the array of an .npy file, or the names in an .npz file."""
    try:
        with path.open("rb") as file:
            magic = file.read(6)
            file.seek(0)
            if magic.startswith((b"PK", b"\x93NUMPY")):
                content = np.load(file, allow_pickle=False)
                return content if isinstance(content, np.ndarray) else list(content.files)
    except FileNotFoundError:
        raise PosteriorsError(f"{path}: no such file; expected .npy or .npz posteriors.") from None
    except Exception as error:  # of a damaged file numpy lets errors of tokenize, zipfile, zlib and others through
        raise PosteriorsError(f"{path}: cannot be read as .npy or .npz posteriors: {_line(error)}.") from None
    raise PosteriorsError(f"{path}: neither .npy nor .npz, for it begins with {magic!r}.")


def _array(path: Path, name: str) -> NDArray[Any]:
    # The file is opened for each array: no handle stays open, and of a large file only what is needed is in memory.
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            array: NDArray[Any] = content[name]
    except Exception as error:
        raise PosteriorsError(f"{path}: array {name!r} cannot be read: {_line(error)}.") from None
    return array


def _stacked(path: Path, stored: list[str]) -> tuple[Utterance, ...]:
    if "log_probs" not in stored:
        raise PosteriorsError(f"{path}: has offsets but no log_probs they cut up, only {_names(stored)}.")
    rows, offsets = _array(path, "log_probs"), _array(path, "offsets")
    whole = offsets.ndim == 1 and len(offsets) > 1 and offsets.dtype.kind in "iu"
    rising = whole and bool(np.all(offsets[1:] >= offsets[:-1]))
    if not rising or rows.ndim != 2 or int(offsets[0]) != 0 or int(offsets[-1]) != len(rows):
        shape = "x".join(map(str, rows.shape))
        raise PosteriorsError(
            f"{path}: offsets must be whole numbers rising from 0 to the {len(rows) if rows.ndim else 0} rows of "
            f"log_probs ({shape}), but are {offsets.dtype} {np.array2string(offsets.ravel()[:4], separator=', ')}..."
        )
    return tuple(
        Utterance(f"{path.stem}/{index}", partial(rows.__getitem__, slice(int(start), int(stop))))
        for index, (start, stop) in enumerate(pairwise(offsets))
    )


def _strings(path: Path, name: str) -> tuple[str, ...]:
    array = _array(path, name)
    if array.dtype.kind != "U":
        raise PosteriorsError(f"{path}: {name} must be strings, but is {array.dtype}.")
    # One string of single-character labels is as good as an array of them.
    return tuple(str(array)) if array.ndim == 0 else tuple(str(text) for text in array.ravel())


def _names(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
