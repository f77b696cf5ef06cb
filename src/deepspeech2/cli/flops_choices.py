"""What `ds2 flops` is asked: for which input, and how to show it.

Checked before torch is imported, so that a slip costs no wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from deepspeech2.errors import OptionError
from deepspeech2.flops.conventions import known_convention
from deepspeech2.report.hardware import Hardware


@dataclass(frozen=True)
class InputChoice:
    """The input's options as they were typed; at most one of `audio`, `seconds`, `frames` and `shapes`.

    Attributes:
        audio: a recording.
        seconds: length of audio.
        frames: spectrogram frames.
        batch: utterances at once.
        shapes: sizes of tensors.
    """

    audio: Path | None = None
    seconds: float | None = None
    frames: int | None = None
    batch: int | None = None
    shapes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.given) > 1:
            raise OptionError(
                f"expected one of AUDIO, --seconds, --frames and --shape; found {' and '.join(self.given)}"
            )
        if self.batch is not None and self.batch < 1:
            raise OptionError(f"--batch must be at least 1, found {self.batch}")
        if self.frames is not None and self.frames < 1:
            raise OptionError(f"--frames must be at least 1, found {self.frames}")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise OptionError(f"--seconds must be positive, found {self.seconds:g}")
        if self.shapes and self.batch is not None:
            raise OptionError("--batch goes with spectrograms; with --shape, write the batch into the sizes")
        if self.audio is not None and not self.audio.exists():
            raise OptionError(f"{self.audio}: no such file; expected a recording (WAV, FLAC, OGG, Opus or MP3)")

    @property
    def given(self) -> list[str]:
        """Names of the options that say what the input is."""
        options = {"AUDIO": self.audio, "--seconds": self.seconds, "--frames": self.frames}
        options["--shape"] = self.shapes or None  # type: ignore[assignment]
        return [name for name, value in options.items() if value is not None]


@dataclass(frozen=True)
class View:
    """How a count is shown.

    Attributes:
        convention: of the headline.
        depth: rows below it are summed up.
        hardware: what least times are computed for.
    """

    convention: str = "standard"
    depth: int | None = None
    hardware: Hardware | None = None

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 1:
            raise OptionError(f"--depth must be at least 1, found {self.depth}")
        known_convention(self.convention)


def check_model_name(name: str) -> None:
    """Refuse what is no preset, no file and no factory.

    Raises:
        OptionError: naming the nearest preset.
    """
    from deepspeech2.cli.model_factories import is_factory
    from deepspeech2.speech.options import PRESETS
    from deepspeech2.speech.pretrained import PRETRAINED

    known = [*PRESETS, *PRETRAINED]
    if name in known or Path(name).exists() or is_factory(name):
        return
    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise OptionError(
        f"{name!r} is neither a preset ({', '.join(known)}) nor a file, and no module:function that makes a "
        f"model.{hint}"
    )
