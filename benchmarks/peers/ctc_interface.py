"""What the decoder benchmark asks of every decoder it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np


@dataclass(frozen=True)
class DecoderSetup:
    """The model of one run: what a decoder needs before it is told the beam.

    Attributes:
        labels: One character per column; the blank is the column after the last.
        language_model: An ARPA file (not compressed), or None to decode without a model.
        words: The words of that model, in its order.
        alpha: Weight of the language model, in the unit of the decoder (see its adapter).
        beta: Reward per word, in the unit of the decoder.
    """

    labels: str
    language_model: Path | None = None
    words: tuple[str, ...] = ()
    alpha: float = 0.0
    beta: float = 0.0


class BenchmarkDecoder(ABC):
    """One decoder: `prepare` and `set_beam` are not timed, `decode` is."""

    package: ClassVar[str]
    """Distribution whose version is recorded."""

    def __init__(self, setup: DecoderSetup) -> None:
        self.setup = setup

    def prepare(self, log_probs: np.ndarray) -> Any:
        """Bring (time, vocab + 1) log-probabilities into the form this decoder wants."""
        return log_probs

    @abstractmethod
    def set_beam(self, beam: int) -> None:
        """Choose the beam of the following calls of `decode`."""

    @abstractmethod
    def decode(self, prepared: Any) -> str:
        """Return the best text."""
