"""What `ds2 transcribe` and `ds2 evaluate` share: the recogniser their options ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from deepspeech2.speech.bulk import RecognizerSettings


@Parameter(name="*")
@dataclass(frozen=True)
class RecognizerArguments:
    """How to recognise; what is None keeps the model's own value."""

    decoder: Literal["beam", "greedy"] = "beam"
    "beam or greedy."
    lm: Path | None = None
    "Language model instead of the model's own (ARPA or KenLM)."
    beam_size: int | None = None
    "Prefixes kept by the beam search."
    alpha: float | None = None
    "Weight of the language model."
    beta: float | None = None
    "Bonus for each word."
    weights: Literal["float32", "bfloat16", "int8"] = "float32"
    "How recurrent weights are stored: float32, bfloat16 or int8; fewer bytes are faster for one file at a time."
    device: str = "auto"
    "Where the network runs: auto (a GPU if torch finds one), cpu, cuda, cuda:1."

    def settings(self, model: str) -> RecognizerSettings:
        """What makes this recogniser of a model.

        Raises:
            OptionError: The options contradict each other, or the model is not known.
        """
        from dataclasses import replace

        from deepspeech2.ctc import BeamOptions
        from deepspeech2.errors import OptionError
        from deepspeech2.speech.bulk import RecognizerSettings
        from deepspeech2.speech.pretrained import choose_pretrained

        beam = {"beam_size": self.beam_size, "alpha": self.alpha, "beta": self.beta}
        given = {name: value for name, value in beam.items() if value is not None}
        if self.decoder == "greedy" and (given or self.lm):
            what = ", ".join(["--lm"] * bool(self.lm) + [f"--{name.replace('_', '-')}" for name in given])
            raise OptionError(f"{what} belongs to the beam search; leave --decoder greedy out")
        shipped = choose_pretrained(model)
        weights = [f"--{name}" for name in ("alpha", "beta") if name in given]
        if weights and shipped is None and self.lm is None:
            what = " and ".join(weights)
            raise OptionError(f"{what}: they weigh a language model, which {model} does not bring; add --lm FILE")
        own = shipped.beam if shipped else BeamOptions()
        options = replace(own, **given) if given else None  # type: ignore[arg-type]
        language_model = str(self.lm) if self.lm else None
        return RecognizerSettings(model, self.decoder, options, language_model, self.weights, self.device)

    def files(self, model: str) -> list[Path]:
        """The files it is made of, as far as they were named: nothing may be written over them."""
        return [Path(model), *([self.lm] if self.lm else [])]
