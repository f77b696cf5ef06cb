"""Models and language models that come with the package."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from deepspeech2.ctc import BeamOptions
from deepspeech2.errors import OptionError

FOLDER = Path(__file__).parent.parent / "pretrained"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A model in the package.

    Attributes:
        model: Its checkpoint.
        language_model: The language model that goes with it.
        beam: Beam search tuned for the two on held-out speech.
    """

    model: Path
    language_model: Path
    beam: BeamOptions


PRETRAINED = {
    "small": Pretrained(
        FOLDER / "small.safetensors",
        FOLDER / "small-3gram.arpa.gz",
        BeamOptions(beam_size=256, alpha=1.0, beta=0.25, cutoff_top_n=20, n_best=1, lookahead=True, recombine=True),
    ),
}
"""The models in the package by name."""


def choose_pretrained(model: str | os.PathLike[str]) -> Pretrained | None:
    """The model of the package that is meant, or None where it is a checkpoint's path.

    A name comes before whatever the current folder holds under it: a checkpoint called so is ``./small``.

    Raises:
        OptionError: It is neither; the message names the nearest. Or it is no text at all.
    """
    if not isinstance(model, (str, os.PathLike)):
        raise OptionError(f"expected a name or a path as the model, found {model!r}")
    if isinstance(model, str) and model in PRETRAINED:
        return PRETRAINED[model]
    try:
        there = Path(model).exists()
    except OSError:  # a name longer than names can be, a folder that may not be entered
        there = False
    return None if there else find_pretrained(os.fspath(model))


def find_pretrained(name: str) -> Pretrained:
    """Look a model of the package up by its name.

    Raises:
        OptionError: There is none of this name; the message names the nearest.
    """
    if name in PRETRAINED:
        return PRETRAINED[name]
    near = difflib.get_close_matches(name, PRETRAINED, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise OptionError(
        f"expected a checkpoint, or a model of the package: {', '.join(PRETRAINED)}; found {name!r}{hint}"
    )
