"""The characters a model spells with: files of them, and texts as their indices."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from deepspeech2.errors import VocabularyError
from deepspeech2.files import replacing


def build_labels(texts: Iterable[str], *, minimum_count: int = 1) -> tuple[str, ...]:
    """Every character of the texts that occurs at least `minimum_count` times, in code point order.

    The CTC blank is not among them: it is the index after the last label.

    Raises:
        VocabularyError: The texts hold no character.

    Example:
        >>> build_labels(["a cab", "ab"])
        (' ', 'a', 'b', 'c')
    """
    counts = Counter(character for text in texts for character in text)
    labels = tuple(sorted(character for character, count in counts.items() if count >= minimum_count))
    if not labels:
        raise VocabularyError("expected transcripts with at least one character, found none")
    return labels


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read a vocabulary file: UTF-8, one character a line, one of the lines may be a single space.

    Raises:
        VocabularyError: The file is missing, empty, or a line is not one character or comes twice.
    """
    source = Path(path)
    try:
        lines = source.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise VocabularyError(f"{source}: cannot be read as a UTF-8 vocabulary ({error})") from error
    for number, label in enumerate(lines, start=1):
        if len(label) != 1:
            raise VocabularyError(f"{source}:{number}: expected one character a line, found {label!r}")
        if label in lines[: number - 1]:
            raise VocabularyError(f"{source}:{number}: {label!r} is listed twice")
    return tuple(lines)


def write_labels(path: str | os.PathLike[str], labels: Sequence[str]) -> None:
    """Write a vocabulary file, one character a line."""
    with replacing(path) as file:
        file.writelines(f"{label}\n" for label in labels)


def encode_text(text: str, labels: Sequence[str]) -> list[int]:
    """Indices of a text's characters in the labels.

    Raises:
        VocabularyError: A character is not among the labels.

    Example:
        >>> encode_text("cab", " abc")
        [3, 1, 2]
    """
    index = {label: position for position, label in enumerate(labels)}
    try:
        return [index[character] for character in text]
    except KeyError:
        raise VocabularyError(f"{unknown_characters(text, labels)!r} of '{text}' not among the labels") from None


def unknown_characters(text: str, labels: Iterable[str]) -> str:
    """The characters of a text that the labels cannot spell, each once, in order of appearance."""
    known = set(labels)
    return "".join(dict.fromkeys(character for character in text if character not in known))


def texts_with_unknown(texts: Iterable[str], labels: Iterable[str]) -> dict[str, int]:
    """In how many texts each character occurs that the labels cannot spell, the rarest first.

    Example:
        >>> texts_with_unknown(["ca 9", "99 é", "a"], "ab c")
        {'é': 1, '9': 2}
    """
    known = set(labels)
    counts = Counter(character for text in texts for character in set(text) - known)
    return dict(sorted(counts.items(), key=lambda item: (item[1], item[0])))


def ctc_frames_needed(text: str) -> int:
    """The fewest output frames CTC needs for a text: one a character, one more blank between equal neighbours.

    Example:
        >>> ctc_frames_needed("hello")
        6
    """
    return len(text) + sum(before == after for before, after in pairwise(text))
