"""What a DeepSpeech2 is made of, and the published models by name."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any, Literal

from deepspeech2.ctc.alphabet import Alphabet
from deepspeech2.errors import OptionError, VocabularyError

ENGLISH_LABELS = ("'", " ", *"abcdefghijklmnopqrstuvwxyz")
"""Output symbols of the published English models, in their order; the blank follows as the last index."""


def _check_sizes(what: str, **sizes: Any) -> None:
    for name, value in sizes.items():
        for size in value if isinstance(value, tuple) else (value,):
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise OptionError(f"{what}: expected {name} of at least 1, found {value}")


@dataclass(frozen=True)
class ConvolutionOptions:
    """One convolution over frequency and time; padding keeps the centre of the kernel on every input cell.

    Attributes:
        channels: Output channels.
        kernel: Extent over (frequency, time), both odd.
        stride: Steps over (frequency, time).
    """

    channels: int = 32
    kernel: tuple[int, int] = (21, 11)
    stride: tuple[int, int] = (2, 1)

    def __post_init__(self) -> None:
        _check_sizes("convolution", channels=self.channels, kernel=self.kernel, stride=self.stride)
        for name, pair in (("kernel", self.kernel), ("stride", self.stride)):
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise OptionError(f"convolution: expected {name} over (frequency, time), found {pair!r}")
        if any(extent % 2 == 0 for extent in self.kernel):
            raise OptionError(f"convolution: expected an odd kernel, found {self.kernel[0]} x {self.kernel[1]}")

    def output_frames(self, frames: Any) -> Any:
        """Output frames for a number, symbol or tensor of input frames."""
        return frames if self.stride[1] == 1 else (frames - 1) // self.stride[1] + 1


def published_convolutions(count: int) -> tuple[ConvolutionOptions, ...]:
    """The convolutions of the published network: 41 x 11 with stride 2 x 3, then 21 x 11 with stride 2 x 1."""
    _check_sizes("network", convolutions=count)
    return (ConvolutionOptions(kernel=(41, 11), stride=(2, 3)), *[ConvolutionOptions()] * (count - 1))


@dataclass(frozen=True)
class NetworkOptions:
    """The architecture of a DeepSpeech2; the defaults are those of the published network function.

    Attributes:
        vocab_size: Output symbols, the blank not counted.
        convolutions: The convolutions, first to last.
        recurrent_layers: Bidirectional recurrent layers.
        recurrent_size: State of one direction.
        cell: `simple` (clipped ReLU) or `gru`.
        shared: Both directions of a simple layer share projection and batch norm. A GRU never shares them: for
            `cell="gru"` this is always False.
        frequencies: Bins of a feature frame.

    Raises:
        OptionError: A size is not at least 1, or the cell is not known.

    Example:
        >>> options = NetworkOptions(recurrent_layers=2, recurrent_size=512, cell="gru")
        >>> options.shared, options.sequence_size, options.output_frames(999)
        (False, 1312, 333)
    """

    vocab_size: int = len(ENGLISH_LABELS)
    convolutions: tuple[ConvolutionOptions, ...] = field(default_factory=lambda: published_convolutions(2))
    recurrent_layers: int = 3
    recurrent_size: int = 256
    cell: Literal["simple", "gru"] = "simple"
    shared: bool = True
    frequencies: int = 161

    def __post_init__(self) -> None:
        convolutions = self.convolutions
        if not isinstance(convolutions, tuple) or not all(isinstance(one, ConvolutionOptions) for one in convolutions):
            raise OptionError(
                f"network: expected convolutions as a tuple of ConvolutionOptions, found {convolutions!r}"
            )
        _check_sizes(
            "network",
            vocab_size=self.vocab_size,
            recurrent_layers=self.recurrent_layers,
            recurrent_size=self.recurrent_size,
            frequencies=self.frequencies,
            convolutions=len(self.convolutions),
        )
        if self.cell not in ("simple", "gru"):
            raise OptionError(f"network: expected cell simple or gru, found {self.cell!r}")
        if self.cell == "gru":
            object.__setattr__(self, "shared", False)

    @property
    def sequence_size(self) -> int:
        """Values of one frame after the convolutions: channels times the frequencies that are left."""
        frequencies = self.frequencies
        for convolution in self.convolutions:
            frequencies = (frequencies - 1) // convolution.stride[0] + 1
        return frequencies * self.convolutions[-1].channels

    def output_frames(self, frames: Any) -> Any:
        """Output frames for a number, symbol or tensor of input frames: ``(frames - 1) // 3 + 1`` as published."""
        for convolution in self.convolutions:
            frames = convolution.output_frames(frames)
        return frames


PRESETS = {
    "default": NetworkOptions(),
    "librispeech": NetworkOptions(recurrent_size=2048),
    "aishell": NetworkOptions(vocab_size=4333, recurrent_size=1024, cell="gru"),
    "baidu-en8k": NetworkOptions(recurrent_size=1024, cell="gru"),
}
"""The published models by name."""


def preset(name: str) -> NetworkOptions:
    """Look a published model up by its name.

    Raises:
        OptionError: There is no such preset; the message names the nearest.
    """
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name.lower(), PRESETS, n=1, cutoff=0.4)
    suggestion = f"did you mean {near[0]!r}? " if near else ""
    raise OptionError(f"unknown preset {name!r}; {suggestion}The presets are {', '.join(PRESETS)}.")


def check_labels(labels: tuple[str, ...] | None, vocab_size: int) -> None:
    """Refuse labels that are not `vocab_size` different, non-empty symbols.

    Raises:
        VocabularyError: Naming what is wrong.
    """
    if labels is None:
        return
    if len(labels) != vocab_size:
        raise VocabularyError(
            f"labels: expected {vocab_size} symbols for this network (the blank is not listed), found {len(labels)}"
        )
    Alphabet(labels)
