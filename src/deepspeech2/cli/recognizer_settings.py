"""What `ds2 transcribe` and `ds2 evaluate` share: the recogniser their options ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from deepspeech2.speech.bulk import RecognizerSettings


def recognizer_settings(
    model: str,
    decoder: Literal["beam", "greedy"],
    lm: Path | None,
    beam: dict[str, float | None],
    weights: Literal["float32", "bfloat16", "int8"] = "float32",
    device: str = "auto",
) -> RecognizerSettings:
    """What makes the recogniser that the command line asks for; options that are None keep the model's own values.

    Raises:
        OptionError: The options contradict each other, or the model is not known.
    """
    from dataclasses import replace

    from deepspeech2.ctc import BeamOptions
    from deepspeech2.errors import OptionError
    from deepspeech2.speech.bulk import RecognizerSettings
    from deepspeech2.speech.pretrained import choose_pretrained

    given = {name: value for name, value in beam.items() if value is not None}
    if decoder == "greedy" and (given or lm):
        what = ", ".join(["--lm"] * bool(lm) + [f"--{name.replace('_', '-')}" for name in given])
        raise OptionError(f"{what} belongs to the beam search; leave --decoder greedy out")
    shipped = choose_pretrained(model)
    own = shipped.beam if shipped else BeamOptions()
    options = replace(own, **given) if given else None  # type: ignore[arg-type]
    return RecognizerSettings(model, decoder, options, str(lm) if lm else None, weights, device)
