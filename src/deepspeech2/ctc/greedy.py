"""Best-path decoding: the most probable symbol of each frame, repeats collapsed, blanks dropped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from deepspeech2.ctc.alphabet import Alphabet
from deepspeech2.ctc.hypothesis import Hypothesis
from deepspeech2.ctc.posteriors import as_matrix, check_rows
from deepspeech2.ctc.transcript import Boundary, Transcript


class GreedyDecoder:
    """Reads the best path off the posteriors: argmax, collapse repeats, drop the blank.

    It keeps no state between calls and knows no language model. Among equal symbols the lowest column wins.

    Example:
        >>> import numpy as np
        >>> decoder = GreedyDecoder(Alphabet("ab"))
        >>> log_probs = np.log([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]])
        >>> decoder.decode(log_probs).text
        'aa'
    """

    def __init__(self, alphabet: Alphabet) -> None:
        """Decode posteriors whose columns are those of `alphabet`."""
        self.alphabet = alphabet

    def decode(self, log_probs: Any) -> Hypothesis:
        """Decode one utterance.

        Args:
            log_probs: (time, columns) natural log-probabilities, numpy or torch.

        Returns:
            The text with the frames of each character and word; the score is that of the best path alone.

        Raises:
            PosteriorsError: The array is not a matrix of log-probabilities with the alphabet's columns.
        """
        matrix = as_matrix(log_probs, self.alphabet.columns)
        check_rows(matrix)
        best = matrix.argmax(axis=1)
        path = matrix[np.arange(len(best)), best].astype(np.float64)
        starts = np.flatnonzero(np.diff(best, prepend=-1))
        ends = np.append(starts[1:], len(best))
        total = np.cumsum(path)
        score = float(total[-1])
        boundaries = tuple(
            Boundary(int(best[start]), int(start), int(end), float(total[end - 1]), 0.0)
            for start, end in zip(starts, ends, strict=True)
            if best[start] != self.alphabet.blank and int(best[start]) not in self.alphabet.silent_columns
        )
        transcript = Transcript(self.alphabet, boundaries, score, 0.0)
        return Hypothesis(transcript.text, score, score, 0.0, transcript)

    def decode_batch(self, log_probs: Iterable[Any]) -> list[Hypothesis]:
        """Decode several utterances; see `decode`."""
        return [self.decode(matrix) for matrix in log_probs]
