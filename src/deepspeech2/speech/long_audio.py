"""Log-probabilities of audio of any length: windows that overlap, and only their middles kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deepspeech2.errors import OptionError
from deepspeech2.speech.audio import SAMPLE_RATE
from deepspeech2.speech.devices import device_of
from deepspeech2.speech.features import HOP_SAMPLES
from deepspeech2.speech.network import AcousticNetwork

FRAMES_PER_SECOND = SAMPLE_RATE // HOP_SAMPLES  # of features
LIKE_LENGTH = 0.9  # padding a batch by more costs what the batch gains


@dataclass(frozen=True, slots=True)
class WindowOptions:
    """How long audio is cut.

    Attributes:
        seconds: Length of a window; shorter audio is not cut.
        margin_seconds: What is thrown away at each inner edge of a window: context for the recurrence.
        batch: Windows the network works on at a time.
    """

    seconds: float = 30.0
    margin_seconds: float = 3.0
    batch: int = 8

    def __post_init__(self) -> None:
        if not 0 < 2 * self.margin_seconds < self.seconds < math.inf or self.batch < 1:
            raise OptionError(
                f"expected windows longer than two margins, and at least one in a batch, found windows of "
                f"{self.seconds} s, margins of {self.margin_seconds} s and {self.batch} in a batch"
            )


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of the output of one window.

    Attributes:
        start: First input frame of the window.
        stop: One past its last input frame.
        skip: Output frames thrown away at its beginning.
        keep: Output frames kept after them.
    """

    start: int
    stop: int
    skip: int
    keep: int


def window_sizes(stride: int, options: WindowOptions) -> tuple[int, int]:
    """Length of a window and of a margin in output frames.

    Args:
        stride: Input frames per output frame.
        options: Both in seconds.

    Raises:
        OptionError: Two margins would leave nothing of a window.
    """
    size, margin = (round(s * FRAMES_PER_SECOND / stride) for s in (options.seconds, options.margin_seconds))
    if size <= 2 * margin:
        raise OptionError(
            f"expected windows longer than two margins, found windows of {options.seconds} s ({size} output frames of "
            f"{stride / FRAMES_PER_SECOND} s) and margins of {options.margin_seconds} s ({margin} output frames)"
        )
    return size, margin


def plan_windows(frames: int, stride: int, options: WindowOptions) -> list[Window]:
    """Cut so many input frames into windows whose kept outputs join into one sequence without gap or overlap.

    Args:
        frames: Input frames, at least 1.
        stride: Input frames per output frame.
        options: Length of windows and margins.

    Raises:
        OptionError: Two margins would leave nothing of a window.

    Example:
        >>> [(window.start, window.keep) for window in plan_windows(1000, 3, WindowOptions(4.0, 0.5))]
        [(0, 116), (297, 99), (594, 99), (891, 20)]
    """
    outputs = (frames - 1) // stride + 1
    size, margin = window_sizes(stride, options)
    if outputs <= size:
        return [Window(0, frames, 0, outputs)]
    windows: list[Window] = []
    done = 0
    while done < outputs:
        first = max(0, done - margin)
        last = min(outputs, first + size)
        stop = outputs if last == outputs else last - margin
        windows.append(Window(first * stride, min(frames, last * stride), done - first, stop - done))
        done = stop
    return windows


def log_probabilities(
    model: AcousticNetwork, features: NDArray[np.float32], options: WindowOptions | None = None
) -> NDArray[np.float32]:
    """Log-probabilities of one utterance of any length; see `log_probabilities_of_all`."""
    return log_probabilities_of_all(model, [features], options)[0]


@torch.inference_mode()
def log_probabilities_of_all(
    model: AcousticNetwork, features: Sequence[NDArray[np.float32]], options: WindowOptions | None = None
) -> list[NDArray[np.float32]]:
    """Log-probabilities of utterances of any lengths, windows of like length in one batch.

    Args:
        model: The network, in evaluation mode, on any device.
        features: Normalised spectrograms, (161, frames) each.
        options: How long audio is cut.

    Returns:
        (output frames, vocab + 1) for each, the blank last. Memory for the network's activations is bounded by the
        windows of a batch. What an utterance is batched with changes its result by rounding.
    """
    options = options or WindowOptions()
    stride = int(np.prod([convolution.stride[1] for convolution in model.options.convolutions]))
    plans = [plan_windows(utterance.shape[1], stride, options) for utterance in features]
    pieces = [
        (utterance[:, window.start : window.stop], window)
        for utterance, plan in zip(features, plans, strict=True)
        for window in plan
    ]
    kept: dict[int, NDArray[np.float32]] = {}
    for group in _groups([piece.shape[1] for piece, _ in pieces], options.batch):
        for n, output in zip(group, _outputs(model, [pieces[n][0] for n in group]), strict=True):
            window = pieces[n][1]
            kept[n] = output[window.skip : window.skip + window.keep]
    following = iter([kept[n] for n in range(len(pieces))])
    return [np.concatenate([next(following) for _ in plan]) for plan in plans]


def _outputs(model: AcousticNetwork, features: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    lengths = [piece.shape[1] for piece in features]
    batch = np.zeros((len(features), features[0].shape[0], max(lengths)), np.float32)
    for row, piece in zip(batch, features, strict=True):
        row[:, : piece.shape[1]] = piece
    outputs, _ = model(torch.from_numpy(batch).to(device_of(model)), torch.tensor(lengths))
    values: NDArray[np.float32] = outputs.cpu().numpy()
    return values


def _groups(lengths: list[int], size: int) -> Iterator[list[int]]:
    """Indices of like lengths, at most so many together: the shortest is at least nine tenths of the longest."""
    group: list[int] = []
    for n in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) == size or lengths[group[0]] < LIKE_LENGTH * lengths[n]):
            yield group
            group = []
        group.append(n)
    if group:
        yield group
