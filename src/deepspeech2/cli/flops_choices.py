"""What `ds2 flops` is asked: for which input, and how to show it.

Checked before torch is imported, so that a slip costs no wait.
"""

from __future__ import annotations

from collections.abc import Mapping
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
            raise OptionError(f"--seconds must be positive and finite, found {self.seconds:g}")
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
class TrainingChoice:
    """The options of a training step, and of the whole training it may be one of, as they were typed.

    Attributes:
        step: whether a training step is counted at all.
        optimiser: of the step.
        label_length: labels of an utterance.
        manifest: the utterances of a whole training.
        epochs: passes over them.
        batch_seconds: most seconds of audio in one of its batches.
        teraflops: the rate that turns its operations into hours.
    """

    step: bool = False
    optimiser: str | None = None
    label_length: int | None = None
    manifest: Path | None = None
    epochs: int | None = None
    batch_seconds: float | None = None
    teraflops: float | None = None

    def __post_init__(self) -> None:
        run = {"--epochs": self.epochs, "--batch-seconds": self.batch_seconds, "--teraflops": self.teraflops}
        if self.manifest is None and any(value is not None for value in run.values()):
            raise OptionError(f"{', '.join(run)} describe a training on a manifest; add --training --manifest FILE")
        if not self.step and self.manifest is not None:
            raise OptionError("--manifest is what a training runs over; add --training")
        if not self.step and (self.optimiser is not None or self.label_length is not None):
            raise OptionError("--optimiser and --label-length describe a training step; add --training")

    def refuse_beside(self, options: Mapping[str, object]) -> None:
        """Refuse options, by name, that were given though the manifest says what is counted.

        Raises:
            OptionError: naming them.
        """
        given = [name for name, value in options.items() if value is not None]
        if self.manifest is not None and given:
            raise OptionError(f"--manifest gives the durations of a training; leave out {', '.join(given)}")


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


def hardware_of(peak: float | None, bandwidth: float | None) -> Hardware | None:
    """The device of --peak and --bandwidth; none without them.

    Raises:
        OptionError: one without the other, or out of range.
    """
    if peak is not None and bandwidth is not None:
        return Hardware(peak, bandwidth)
    if peak is not None:
        raise OptionError("--peak alone bounds nothing; add --bandwidth BYTES_PER_SECOND")
    if bandwidth is not None:
        raise OptionError("--bandwidth alone bounds nothing; add --peak FLOP_PER_SECOND")
    return None


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
