"""pyctcdecode and ctc-beam-decoder, its rewrite in C++: same calls, same pruning (their defaults), alpha in nats."""

from __future__ import annotations

import logging
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from benchmarks.peers.ctc_interface import BenchmarkDecoder

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.peers.ctc_interface import DecoderSetup


class _SameCalls(BenchmarkDecoder):
    def __init__(self, setup: DecoderSetup) -> None:
        super().__init__(setup)
        self.beam = 100
        self._decoder = self._build(list(setup.labels), self._model_options())

    def _model_options(self) -> dict[str, Any]:
        if self.setup.language_model is None:
            return {}
        return {
            "kenlm_model_path": str(self.setup.language_model),
            "unigrams": list(self.setup.words),
            "alpha": self.setup.alpha,
            "beta": self.setup.beta,
        }

    @abstractmethod
    def _build(self, labels: list[str], options: dict[str, Any]) -> Any:
        """Make the decoder."""

    def set_beam(self, beam: int) -> None:
        self.beam = beam

    def decode(self, prepared: np.ndarray) -> str:
        return str(self._decoder.decode(prepared, beam_width=self.beam))


class PyCtcDecode(_SameCalls):
    """pyctcdecode, the usual choice in Python."""

    package = "pyctcdecode"

    def _build(self, labels: list[str], options: dict[str, Any]) -> Any:
        from pyctcdecode import build_ctcdecoder

        logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
        return build_ctcdecoder([*labels, ""], **options)


class CtcBeamDecoder(_SameCalls):
    """ctc-beam-decoder."""

    package = "ctc-beam-decoder"

    def _build(self, labels: list[str], options: dict[str, Any]) -> Any:
        from ctc_beam_decoder import build_ctcdecoder

        return build_ctcdecoder(labels, **options)
