"""The columns of a CTC output: what each one spells, which is the blank, which separates words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path

from deepspeech2.errors import VocabularyError

SILENT = ("<s>", "</s>", "<unk>", "[UNK]")
WORD_START = "▁"  # the mark sentencepiece puts in front of a piece that begins a word


@dataclass(frozen=True, init=False)
class Alphabet:
    """The labels of a CTC model, in the order of its output columns.

    Attributes:
        labels: What each column except the blank spells, in column order. Usually single characters; pieces of
            several characters are fine.
        blank: The blank's column; the last one unless told otherwise.
        delimiter: The label that separates words, or None where the labels have none. It reads as a single space
            in texts, whatever it is called.
        silent: Labels that are no text, such as ``<s>``: they spell nothing, and no beam search enters them.

    Example:
        >>> alphabet = Alphabet(["a", "b", " "])
        >>> alphabet.columns, alphabet.blank, alphabet.text([0, 2, 1])
        (4, 3, 'a b')
    """

    labels: tuple[str, ...]
    blank: int
    delimiter: str | None
    silent: frozenset[str]

    def __init__(
        self,
        labels: Iterable[str],
        *,
        blank: int | None = None,
        delimiter: str | None = " ",
        silent: Iterable[str] = (),
    ) -> None:
        """Take the labels without the blank.

        Args:
            labels: The labels in column order, the blank left out. A string is taken as its characters.
            blank: The blank's column, 0 .. len(labels); default: after the last label.
            delimiter: The label between words; ignored where no label is spelled so.
            silent: Labels that spell nothing; ignored where there is no such label.

        Raises:
            VocabularyError: No label, an empty or repeated label, or a blank outside the columns.
        """
        try:
            labels = tuple(str(label) if isinstance(label, str) else label for label in labels)
        except TypeError:
            raise VocabularyError(f"The labels should be a sequence of strings, but are {labels!r}.") from None
        if not labels:
            raise VocabularyError("An alphabet needs at least one label besides the blank, but none was given.")
        seen: dict[str, int] = {}
        for column, label in enumerate(labels):
            if label == "":
                raise VocabularyError(
                    f"Label {column} is empty; if that is the blank, leave it out of the labels and say blank={column}."
                )
            if not isinstance(label, str):
                raise VocabularyError(f"Label {column} should be a non-empty string, but is {label!r}.")
            if label in seen:
                raise VocabularyError(
                    f"Label {label!r} stands at both {seen[label]} and {column}; each must be unique."
                )
            seen[label] = column
        given: object = len(labels) if blank is None else blank
        if isinstance(given, bool) or not isinstance(given, Integral):
            raise VocabularyError(f"The blank should be the number of a column, but is {blank!r}.")
        if not 0 <= int(given) <= len(labels):
            raise VocabularyError(f"The blank of {len(labels)} labels must be a column 0..{len(labels)}, not {blank}.")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "blank", int(given))
        object.__setattr__(self, "delimiter", delimiter if delimiter in seen else None)
        object.__setattr__(self, "silent", frozenset(silent) & seen.keys() - {self.delimiter})

    @classmethod
    def from_file(cls, path: str | Path) -> Alphabet:
        r"""Read a vocabulary: JSON (see `from_json`) when the name ends so, otherwise one label a line.

        The line format is that of Baidu's and PaddlePaddle's DeepSpeech: UTF-8, one character a line, one line being
        a single space, the blank not listed.

        Args:
            path: The vocabulary file.

        Returns:
            The alphabet, blank last for the line format.

        Raises:
            VocabularyError: The file is missing, not UTF-8, or lists an empty or repeated label.
        """
        path = Path(path)
        if path.suffix == ".json":
            return cls.from_json(path)
        lines = _read_text(path).split("\n")
        if lines and not lines[-1]:
            lines.pop()
        lines = [line.removesuffix("\r") for line in lines]
        try:
            return cls(lines)
        except VocabularyError as error:
            raise VocabularyError(f"{path}: {error}") from None

    @classmethod
    def from_json(cls, path: str | Path, *, blank: str | None = None, delimiter: str | None = None) -> Alphabet:
        """Read a JSON vocabulary: a list of labels, or an object of label to column as `vocab.json` files hold.

        The markers of wav2vec2's vocabularies that are no text, ``<s>``, ``</s>`` and ``<unk>`` (``[UNK]``), become
        `silent`: they spell nothing, and no beam search enters their columns.

        Args:
            path: The JSON file.
            blank: The label that is the blank; default: the first found of ``<pad>``, ``<blank>``, ``<blk>``,
                ``[PAD]``, ``_`` and the empty string, otherwise the blank is not listed and is the last column.
            delimiter: The label between words; default: ``|`` or a space, whichever is there.

        Returns:
            The alphabet.

        Raises:
            VocabularyError: The file is missing or its columns are not 0 .. n-1.
        """
        path = Path(path)
        try:
            content = json.loads(_read_text(path))
        except (ValueError, RecursionError) as error:
            raise VocabularyError(f"{path}: not JSON: {error}.") from None
        labels = _ordered_labels(content, path)
        if delimiter is None:
            delimiter = next((name for name in (" ", "|") if name in labels), None)
        candidates = ("<pad>", "<blank>", "<blk>", "[PAD]", "_", "") if blank is None else (blank,)
        name = next((name for name in candidates if name in labels), None)
        if name is None and blank is not None:
            raise VocabularyError(f"{path}: no label {blank!r} to be the blank among {len(labels)} labels.")
        column = labels.index(name) if name is not None else None
        try:
            return cls((label for label in labels if label != name), blank=column, delimiter=delimiter, silent=SILENT)
        except VocabularyError as error:
            raise VocabularyError(f"{path}: {error}") from None

    @property
    def columns(self) -> int:
        """How many columns the posteriors must have: the labels and the blank."""
        return len(self.labels) + 1

    @cached_property
    def spelling(self) -> tuple[str, ...]:
        """What each column adds to a text: the blank and silent labels nothing, the delimiter a space."""
        spelled = [" " if x == self.delimiter else "" if x in self.silent else x for x in self.labels]
        spelled.insert(self.blank, "")
        return tuple(spelled)

    @cached_property
    def delimiter_column(self) -> int | None:
        """The delimiter's column, or None."""
        return None if self.delimiter is None else self.column(self.delimiter)

    @cached_property
    def silent_columns(self) -> frozenset[int]:
        """The columns of the silent labels."""
        return frozenset(self.column(label) for label in self.silent)

    @cached_property
    def has_word_starts(self) -> bool:
        """Whether words begin at labels marked ``▁`` instead of being separated by a delimiter."""
        return self.delimiter is None and any(label.startswith(WORD_START) for label in self.labels)

    def column(self, label: str) -> int:
        """The column of a label.

        Raises:
            VocabularyError: There is no such label.
        """
        try:
            index = self.labels.index(label)
        except ValueError:
            raise VocabularyError(f"No label {label!r} among the {len(self.labels)} labels of this alphabet.") from None
        return index + (index >= self.blank)

    def text(self, columns: Sequence[int]) -> str:
        """Spell a sequence of columns out. Nothing is collapsed; ``▁`` reads as a space between words."""
        text = "".join([self.spelling[column] for column in columns])
        return text.replace(WORD_START, " ").removeprefix(" ") if self.has_word_starts else text


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # a byte-order mark is no label
    except OSError as error:
        raise VocabularyError(f"{path}: cannot read the vocabulary: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path}: a vocabulary is UTF-8 text, but byte {error.start} is not.") from None


def _ordered_labels(content: object, path: Path) -> list[str]:
    if isinstance(content, list):
        for column, label in enumerate(content):
            if not isinstance(label, str):
                raise VocabularyError(f"{path}: label {column} should be a string, but is {label!r}.")
        return content
    if not isinstance(content, dict):
        raise VocabularyError(f"{path}: expected a list of labels or an object of label to column.")
    for label, column in content.items():
        if isinstance(column, bool) or not isinstance(column, int):
            raise VocabularyError(f"{path}: the column of label {label!r} should be a whole number, but is {column!r}.")
    by_column = {column: label for label, column in content.items()}
    if sorted(by_column, key=str) != sorted(range(len(content)), key=str):
        raise VocabularyError(
            f"{path}: the columns of {len(content)} labels should be 0..{len(content) - 1}, each once."
        )
    return [by_column[column] for column in range(len(content))]
