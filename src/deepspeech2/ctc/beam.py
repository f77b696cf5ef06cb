"""The beam search decoder."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from deepspeech2.ctc.alphabet import Alphabet
from deepspeech2.ctc.hypothesis import Hypotheses
from deepspeech2.ctc.language_model import LanguageModel
from deepspeech2.ctc.options import BeamOptions
from deepspeech2.ctc.posteriors import as_matrix
from deepspeech2.ctc.reference import ReferenceDecoder


class BeamDecoder:
    """Prefix beam search over CTC posteriors, with or without a language model."""

    def __init__(
        self, alphabet: Alphabet, options: BeamOptions | None = None, language_model: LanguageModel | None = None
    ) -> None:
        """Prepare a decoder.

        Args:
            alphabet: The columns of the posteriors.
            options: What to search and how to score.
            language_model: From `load_language_model`, or None.
        """
        self.alphabet = alphabet
        self.options = options or BeamOptions()
        self.language_model = language_model
        self._search = ReferenceDecoder(alphabet, self.options, language_model)

    def decode(self, log_probs: Any) -> Hypotheses:
        """Decode one utterance.

        Args:
            log_probs: (time, columns) natural log-probabilities, numpy or torch.

        Returns:
            At most `n_best` hypotheses, best first.
        """
        return self._search.decode(log_probs)

    def decode_batch(self, log_probs: Iterable[Any], threads: int = 1) -> list[Hypotheses]:
        """Decode several utterances on threads; results in the order given."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self.decode, log_probs))

    def stream(self) -> BeamStream:
        """Begin an utterance that arrives in pieces."""
        return BeamStream(self)

    def reset(self, **changes: Any) -> None:
        """Change options, e.g. alpha and beta, without rebuilding anything."""
        self.options = replace(self.options, **changes)
        self._search = ReferenceDecoder(self.alphabet, self.options, self.language_model)


class BeamStream:
    """One utterance in pieces."""

    def __init__(self, decoder: BeamDecoder) -> None:
        """Begin an utterance."""
        self._decoder = decoder
        self._pieces: list[Any] = []

    def push(self, log_probs: Any) -> None:
        """Take the next frames."""
        self._pieces.append(as_matrix(log_probs, self._decoder.alphabet.columns))

    def best(self) -> Hypotheses:
        """The hypotheses so far."""
        return self._decoder.decode(np.concatenate(self._pieces))

    def finish(self) -> Hypotheses:
        """The hypotheses of the whole utterance."""
        return self.best()
