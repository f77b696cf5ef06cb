"""This package's decoder: exact, with the fast profile, and with the model read by KenLM instead of our own reader.

`prepare` does nothing: the check of every row of the posteriors is part of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers.ctc_interface import BenchmarkDecoder, DecoderSetup
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, load_language_model

if TYPE_CHECKING:
    import numpy as np

    from deepspeech2.ctc import LanguageModel


class Exact(BenchmarkDecoder):
    """The exact search: no threshold, no look-ahead, every symbol tried."""

    package = "deepspeech2"

    def __init__(self, setup: DecoderSetup) -> None:
        super().__init__(setup)
        self._decoder = BeamDecoder(Alphabet(setup.labels), self._options(), self._model())

    def _model(self) -> LanguageModel | None:
        return load_language_model(self.setup.language_model) if self.setup.language_model else None

    def _options(self) -> BeamOptions:
        return BeamOptions(alpha=self.setup.alpha, beta=self.setup.beta, n_best=1)

    def set_beam(self, beam: int) -> None:
        self._decoder.reset(beam_size=beam)

    def decode(self, prepared: np.ndarray) -> str:
        return self._decoder.decode(prepared)[0].text


class Fast(Exact):
    """The `fast` profile: look-ahead, recombination of language-model states, a score threshold."""

    def _options(self) -> BeamOptions:
        return BeamOptions.fast(alpha=self.setup.alpha, beta=self.setup.beta, n_best=1)


class KenLM(Exact):
    """The exact search asking the `kenlm` package for every probability."""

    def _model(self) -> LanguageModel:
        from deepspeech2.ctc.kenlm_model import KenlmModel

        assert self.setup.language_model is not None
        model = KenlmModel(self.setup.language_model)
        # KenLM tells its words only for its own binaries; here it reads the ARPA file all decoders get.
        model.__dict__["_words"] = self.setup.words
        return model
