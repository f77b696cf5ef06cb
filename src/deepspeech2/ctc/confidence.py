"""How sure the network was of each word that was decoded: the posteriors of its labels, silence left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from deepspeech2.ctc.hypothesis import Hypothesis
from deepspeech2.ctc.posteriors import as_matrix
from deepspeech2.errors import PosteriorsError


def word_confidences(hypothesis: Hypothesis, log_probs: Any) -> tuple[float, ...]:
    """The confidence of each word: the geometric mean over its labels of each label's mean probability.

    A label's probability is that of its column, on average over the frames it is emitted in (its `Character`). Blanks
    have no part in it, so that silence changes nothing; nor have the language model, hot words and beta, so that a
    word they brought in against the audio has a low one. Not calibrated: 0.9 does not mean that nine of ten are right.

    Args:
        hypothesis: From any of the decoders.
        log_probs: What was decoded, (time, columns), natural logarithms.

    Returns:
        A number from 0 to 1 for each of `hypothesis.words`.

    Raises:
        PosteriorsError: The array has not the columns of the hypothesis' alphabet, or fewer frames than it.
    """
    transcript = hypothesis.transcript
    matrix = as_matrix(log_probs, transcript.alphabet.columns)
    frames = max((label.end for label in transcript.boundaries), default=0)
    if frames > len(matrix):
        raise PosteriorsError(
            f"Expected the posteriors that were decoded, of at least {frames} frames, but found {len(matrix)}."
        )
    means = [
        float(np.logaddexp.reduce(matrix[label.start : label.end, label.column], dtype=np.float64))
        - np.log(label.end - label.start)
        for label in transcript.boundaries
    ]
    return tuple(min(1.0, float(np.exp(np.mean(means[first : last + 1])))) for first, last in transcript.spans())
