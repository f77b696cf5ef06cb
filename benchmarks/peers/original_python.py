"""The semantics of the first DeepSpeech2 decoder in Python, written anew from its description.

Prefix beam search with probabilities that are not in the log domain, one dictionary of prefixes a frame, and the
scorer P_LM(word | history)^alpha * (words so far)^beta multiplied in at each space. Its probabilities underflow
after some thousands of frames; the sentences of the benchmark are shorter.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers.ctc_interface import BenchmarkDecoder, DecoderSetup

if TYPE_CHECKING:
    from collections.abc import Callable


def prefix_beam_search(probs: list[list[float]], labels: str, beam: int, scorer: Callable[[str], float] | None) -> str:
    """Return the best text of (time, vocab + 1) probabilities, blank last."""
    blank = len(labels)
    kept = {"": (1.0, 0.0)}  # prefix: mass of its paths that end in the blank, and in its last symbol
    for frame in probs:
        ends_blank: dict[str, float] = defaultdict(float)
        ends_symbol: dict[str, float] = defaultdict(float)
        for prefix, (in_blank, in_symbol) in kept.items():
            ends_blank[prefix] += frame[blank] * (in_blank + in_symbol)
            last = prefix[-1:]
            for index, label in enumerate(labels):
                longer = prefix + label
                if label == last:
                    ends_symbol[prefix] += frame[index] * in_symbol
                    mass = in_blank
                else:
                    mass = in_blank + in_symbol
                if scorer is not None and label == " ":
                    mass *= scorer(longer)
                ends_symbol[longer] += frame[index] * mass
        joined = {
            prefix: (ends_blank.get(prefix, 0.0), ends_symbol.get(prefix, 0.0))
            for prefix in ends_blank.keys() | ends_symbol.keys()
        }
        best = sorted(joined, key=lambda prefix: -sum(joined[prefix]))[:beam]
        kept = {prefix: joined[prefix] for prefix in best}
    final = {
        prefix: sum(masses) * (scorer(prefix) if scorer is not None and prefix and prefix[-1] != " " else 1.0)
        for prefix, masses in kept.items()
    }
    return max(final, key=lambda prefix: final[prefix])


class OriginalPython(BenchmarkDecoder):
    """The search above; with a model the `kenlm` package gives the probability of the last word."""

    package = "kenlm"

    def __init__(self, setup: DecoderSetup) -> None:
        super().__init__(setup)
        self.beam = 100
        self.order = 0
        self._model = None
        if setup.language_model is not None:
            import kenlm

            self._model = kenlm.Model(str(setup.language_model))
            self.order = self._model.order

    def prepare(self, log_probs: np.ndarray) -> list[list[float]]:
        return np.exp(log_probs.astype(np.float64)).tolist()

    def set_beam(self, beam: int) -> None:
        self.beam = beam

    def _score(self, text: str) -> float:
        words = text.split()
        if not words:
            return 1.0
        history = words[-self.order :]
        starts_sentence = len(words) < self.order
        log10 = [score for score, _, _ in self._model.full_scores(" ".join(history), bos=starts_sentence, eos=False)]
        return float(10.0 ** (self.setup.alpha * log10[-1]) * len(words) ** self.setup.beta)

    def decode(self, prepared: list[list[float]]) -> str:
        text = prefix_beam_search(prepared, self.setup.labels, self.beam, self._score if self._model else None)
        return " ".join(text.split())
