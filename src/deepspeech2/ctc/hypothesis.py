"""What a decoder returns: texts with their scores, words and times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


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


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One decoded text.

    Attributes:
        text: The labels spelled out, delimiters as spaces exactly where they were decoded.
        score: ``acoustic_score + language_model_score``, the natural logarithm that ranks hypotheses.
        acoustic_score: ln of the probability of all alignments of the text that the beam followed.
        language_model_score: Everything the language model, beta and hot words added.
        words: The words with times and scores.
        characters: The labels with times.
    """

    text: str
    score: float
    acoustic_score: float
    language_model_score: float
    words: tuple[Word, ...] = ()
    characters: tuple[Character, ...] = ()


@dataclass(frozen=True, slots=True)
class DecodeTally:
    """The work one decode took.

    Attributes:
        frames: Frames decoded.
        candidates: Extensions of a prefix by a symbol whose score was computed.
        merges: Extensions that ended in a prefix already in the beam and were added to it.
        created: Prefixes that entered the beam.
        lookups: Probabilities asked of the language model.
    """

    frames: int = 0
    candidates: int = 0
    merges: int = 0
    created: int = 0
    lookups: int = 0


class Hypotheses(list[Hypothesis]):
    """The hypotheses of one utterance, best first, and the work they took.

    Attributes:
        tally: The work done; for a stream, since it began.
    """

    def __init__(self, hypotheses: Iterable[Hypothesis] = (), tally: DecodeTally | None = None) -> None:
        """Hold the hypotheses, which must come best first."""
        super().__init__(hypotheses)
        self.tally = tally or DecodeTally()
