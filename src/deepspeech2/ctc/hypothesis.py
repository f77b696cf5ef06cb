"""What a decoder returns: texts with their scores, words and times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from deepspeech2.ctc.transcript import Character, Transcript, Word


@dataclass(frozen=True)
class Hypothesis:
    """One decoded text.

    Attributes:
        text: The labels spelled out, delimiters as spaces exactly where they were decoded.
        score: ``acoustic_score + language_model_score``, the natural logarithm that ranks hypotheses.
        acoustic_score: ln of the probability of all alignments of the text that the beam followed.
        language_model_score: Everything the language model, beta and hot words added.
        transcript: The labels behind `words` and `characters`.

    Example:
        >>> import numpy as np
        >>> from deepspeech2.ctc import Alphabet, BeamDecoder
        >>> log_probs = np.log([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])  # columns a, space, blank
        >>> best = BeamDecoder(Alphabet("a ")).decode(log_probs)[0]
        >>> best.text, [(word.text, word.start, word.end) for word in best.words]
        ('a a', [('a', 0, 1), ('a', 2, 3)])
    """

    text: str
    score: float
    acoustic_score: float
    language_model_score: float
    transcript: Transcript = field(repr=False, compare=False)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words with their frames and scores; worked out when first asked for."""
        return self.transcript.words

    @property
    def characters(self) -> tuple[Character, ...]:
        """The labels with their frames; worked out when first asked for."""
        return self.transcript.characters


@dataclass(frozen=True, slots=True)
class DecodeTally:
    """The work one decode took.

    Attributes:
        frames: Frames decoded.
        candidates: Extensions of a prefix by a symbol whose score was computed.
        merges: Extensions that ended in a prefix already in the beam and were added to it.
        created: Prefixes that entered the beam.
        lookups: Probabilities asked of the language model; `ReferenceDecoder` does not count them.
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
