"""Log-probabilities of audio of any length: windows that overlap, and only their middles kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deepspeech2.errors import OptionError
from deepspeech2.speech.devices import device_of
from deepspeech2.speech.network import AcousticNetwork


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
        if not 0 < 2 * self.margin_seconds < self.seconds or self.batch < 1:
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


def plan_windows(frames: int, stride: int, options: WindowOptions) -> list[Window]:
    """Cut so many input frames into windows whose kept outputs join into one sequence without gap or overlap.

    Args:
        frames: Input frames, at least 1.
        stride: Input frames per output frame.
        options: Length of windows and margins.

    Example:
        >>> [(window.start, window.keep) for window in plan_windows(1000, 3, WindowOptions(4.0, 0.5))]
        [(0, 116), (297, 99), (594, 119)]
    """
    outputs = (frames - 1) // stride + 1
    size = max(1, round(options.seconds * 100 / stride))
    margin = round(options.margin_seconds * 100 / stride)
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


@torch.inference_mode()
def log_probabilities(
    model: AcousticNetwork, features: NDArray[np.float32], options: WindowOptions | None = None
) -> NDArray[np.float32]:
    """Log-probabilities of one utterance of any length.

    Args:
        model: The network, in evaluation mode, on any device.
        features: Normalised spectrogram, (161, frames).
        options: How long audio is cut.

    Returns:
        (output frames, vocab + 1), the blank last. Memory for the network's activations is bounded by the windows.
    """
    options = options or WindowOptions()
    stride = int(np.prod([convolution.stride[1] for convolution in model.options.convolutions]))
    windows = plan_windows(features.shape[1], stride, options)
    device = device_of(model)
    pieces: list[NDArray[np.float32]] = []
    for group in _groups(windows, options.batch):
        lengths = [window.stop - window.start for window in group]
        batch = np.zeros((len(group), features.shape[0], max(lengths)), np.float32)
        for row, window in zip(batch, group, strict=True):
            row[:, : window.stop - window.start] = features[:, window.start : window.stop]
        outputs, _ = model(torch.from_numpy(batch).to(device), torch.tensor(lengths))
        for output, window in zip(outputs.cpu().numpy(), group, strict=True):
            pieces.append(output[window.skip : window.skip + window.keep])
    return np.concatenate(pieces)


def _groups(windows: list[Window], size: int) -> Iterator[list[Window]]:
    for start in range(0, len(windows), size):
        yield windows[start : start + size]
