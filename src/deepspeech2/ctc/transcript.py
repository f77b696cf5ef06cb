"""Cuts a sequence of labels into words with times and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from deepspeech2.ctc.alphabet import WORD_START, Alphabet
from deepspeech2.ctc.hypothesis import Word


class Boundary(NamedTuple):
    """What is known at one label: its frames, and the scores of everything up to and including it.

    Attributes:
        start: First frame of the label.
        end: One past its last frame.
        acoustic_score: Cumulative acoustic score when the label was entered.
        language_model_score: Cumulative language-model score with it.
    """

    start: int
    end: int
    acoustic_score: float
    language_model_score: float


def split_words(
    alphabet: Alphabet, columns: Sequence[int], labels: Sequence[Boundary], final: Boundary
) -> tuple[Word, ...]:
    """Group labels into words.

    Words are separated by the alphabet's delimiter, or begin at labels marked ``▁``; an alphabet with neither is
    one word.

    Args:
        alphabet: Spells the columns.
        columns: The labels of the hypothesis.
        labels: One boundary for each of them.
        final: The totals of the whole hypothesis.

    Returns:
        The words; their scores add up to those of `final`.
    """
    spans = _spans(alphabet, columns)
    words = []
    acoustic = language = 0.0
    for index, (first, last) in enumerate(spans):
        # The word ends where the delimiter after it is entered; the last one takes what is left.
        after = final
        if index + 1 < len(spans):
            after = labels[last + 1]
        text = "".join([alphabet.spelling[column] for column in columns[first : last + 1]])
        words.append(
            Word(
                text.removeprefix(WORD_START) if alphabet.has_word_starts else text,
                labels[first].start,
                labels[last].end,
                after.acoustic_score - acoustic,
                after.language_model_score - language,
            )
        )
        acoustic, language = after.acoustic_score, after.language_model_score
    return tuple(words)


def _spans(alphabet: Alphabet, columns: Sequence[int]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    first: int | None = None
    for index, column in enumerate(columns):
        delimits = column == alphabet.delimiter_column
        begins = alphabet.has_word_starts and alphabet.spelling[column].startswith(WORD_START)
        if (delimits or begins) and first is not None:
            spans.append((first, index - 1))
            first = None
        if not delimits and first is None:
            first = index
    if first is not None:
        spans.append((first, len(columns) - 1))
    return spans
