"""fast-ctc-decode: probabilities, blank first, no language model."""

from __future__ import annotations

import numpy as np
from fast_ctc_decode import beam_search

from benchmarks.peers.ctc_interface import BenchmarkDecoder, DecoderSetup


class FastCtcDecode(BenchmarkDecoder):
    """The beam search of fast-ctc-decode without its threshold, so that no symbol is pruned."""

    package = "fast-ctc-decode"

    def __init__(self, setup: DecoderSetup) -> None:
        super().__init__(setup)
        # The blank needs a name that is no label; it never shows in the text.
        self.alphabet = ["_", *setup.labels]
        self.beam = 100

    def prepare(self, log_probs: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.roll(np.exp(log_probs), 1, axis=1))

    def set_beam(self, beam: int) -> None:
        self.beam = beam

    def decode(self, prepared: np.ndarray) -> str:
        return str(beam_search(prepared, self.alphabet, beam_size=self.beam, beam_cut_threshold=0.0)[0])
