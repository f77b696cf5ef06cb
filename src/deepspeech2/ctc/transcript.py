"""The labels of a hypothesis with their times and scores, and the words they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np

from deepspeech2.ctc.alphabet import WORD_START, Alphabet


@dataclass(frozen=True, slots=True)
class Character:
    """One label of a hypothesis.

    Attributes:
        text: What the label spells.
        start: The first frame it is emitted in.
        end: One past the last frame it is emitted in.
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a hypothesis.

    Attributes:
        text: The word.
        start: The first frame of its first character.
        end: One past the last frame of its last character.
        acoustic_score: Its share of the hypothesis' acoustic score (natural log): from the delimiter before it to the
            one after it. The shares of all words add up to the whole.
        language_model_score: What the language model, beta and hot words added for it.
    """

    text: str
    start: int
    end: int
    acoustic_score: float
    language_model_score: float


class Boundary(NamedTuple):
    """What is known at one label.

    Attributes:
        column: The label's column.
        start: Its first frame.
        end: One past its last frame.
        acoustic_score: Score of everything up to and including the moment it was entered.
        language_model_score: What the language model had added by then.
    """

    column: int
    start: int
    end: int
    acoustic_score: float
    language_model_score: float


class PackedBoundaries(Sequence[Boundary]):
    """Boundaries as the native core writes them, unpacked when first looked at."""

    LAYOUT = np.dtype(
        [("column", "i4"), ("start", "i4"), ("end", "i4"), ("", "i4"), ("acoustic", "f8"), ("language", "f8")]
    )

    def __init__(self, packed: bytes) -> None:
        """Hold the bytes."""
        self._packed = packed

    @cached_property
    def _boundaries(self) -> tuple[Boundary, ...]:
        labels = np.frombuffer(self._packed, self.LAYOUT)
        fields = (labels[name].tolist() for name in ("column", "start", "end", "acoustic", "language"))
        return tuple(Boundary(*label) for label in zip(*fields, strict=True))

    def __len__(self) -> int:
        return len(self._packed) // self.LAYOUT.itemsize

    @overload
    def __getitem__(self, index: int) -> Boundary: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Boundary]: ...
    def __getitem__(self, index: int | slice) -> Boundary | Sequence[Boundary]:
        return self._boundaries[index]


@dataclass(frozen=True)
class Transcript:
    """The labels of one hypothesis.

    Attributes:
        alphabet: Spells the labels.
        boundaries: The labels in order.
        acoustic_score: Of the whole hypothesis.
        language_model_score: Of the whole hypothesis.
    """

    alphabet: Alphabet
    boundaries: Sequence[Boundary]
    acoustic_score: float
    language_model_score: float

    @cached_property
    def text(self) -> str:
        """The labels spelled out."""
        return self.alphabet.text([label.column for label in self.boundaries])

    @cached_property
    def characters(self) -> tuple[Character, ...]:
        """The labels with their frames."""
        spelling = self.alphabet.spelling
        return tuple(Character(spelling[label.column], label.start, label.end) for label in self.boundaries)

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words: what the delimiter separates, or what begins with ``▁``; an alphabet with neither is one word."""
        spans = self.spans()
        words = []
        acoustic = language = 0.0
        for index, (first, last) in enumerate(spans):
            # A word reaches to where the delimiter after it is entered; the last one takes what is left.
            acoustic_after, language_after = self.acoustic_score, self.language_model_score
            if index + 1 < len(spans):
                after = self.boundaries[last + 1]
                acoustic_after, language_after = after.acoustic_score, after.language_model_score
            labels = self.boundaries[first : last + 1]
            text = "".join([self.alphabet.spelling[label.column] for label in labels])
            words.append(
                Word(
                    text.removeprefix(WORD_START) if self.alphabet.has_word_starts else text,
                    labels[0].start,
                    labels[-1].end,
                    acoustic_after - acoustic,
                    language_after - language,
                )
            )
            acoustic, language = acoustic_after, language_after
        return tuple(words)

    def spans(self) -> list[tuple[int, int]]:
        """Where each word's labels are: the index of its first and of its last label."""
        spans: list[tuple[int, int]] = []
        first: int | None = None
        for index, label in enumerate(self.boundaries):
            delimits = label.column == self.alphabet.delimiter_column
            begins = self.alphabet.has_word_starts and self.alphabet.spelling[label.column].startswith(WORD_START)
            if (delimits or begins) and first is not None:
                spans.append((first, index - 1))
                first = None
            if not delimits and first is None:
                first = index
        if first is not None:
            spans.append((first, len(self.boundaries) - 1))
        return spans
