"""SpecAugment: masking of frequency bands and stretches of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepspeech2.speech.option_checks import check_number, check_positive, check_whole


@dataclass(frozen=True, slots=True)
class SpecAugmentOptions:
    """How much of a spectrogram is masked (Park et al. 2019, without the time warping).

    Attributes:
        frequency_masks: Number of bands masked.
        frequency_width: Widest band, in bins of 50 Hz.
        time_masks: Number of stretches masked.
        time_width: Longest stretch, in frames of 10 ms.
        time_share: No stretch is longer than this share of the utterance.
        seconds_per_time_mask: When given, utterances get one stretch for each so many seconds (at least one)
            instead of `time_masks`.
    """

    frequency_masks: int = 2
    frequency_width: int = 27
    time_masks: int = 2
    time_width: int = 40
    time_share: float = 0.15
    seconds_per_time_mask: float | None = None

    def __post_init__(self) -> None:
        what = "spec_augment"
        check_whole(what, frequency_masks=self.frequency_masks, frequency_width=self.frequency_width)
        check_whole(what, time_masks=self.time_masks, time_width=self.time_width)
        check_number(what, "from 0 to 1", 0, 1, time_share=self.time_share)
        if self.seconds_per_time_mask is not None:
            check_positive(what, seconds_per_time_mask=self.seconds_per_time_mask)


def spec_augment(
    features: NDArray[np.float32], options: SpecAugmentOptions, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Set random bands and stretches of a normalised spectrogram to zero, its mean.

    Args:
        features: Shape (161, frames), normalised; not changed.
        options: How much to mask.
        generator: Source of the random numbers.

    Returns:
        A masked copy.
    """
    masked = features.copy()
    bins, frames = masked.shape
    for _ in range(options.frequency_masks):
        start, stop = _stretch(bins, min(options.frequency_width, bins), generator)
        masked[start:stop] = 0.0
    count = options.time_masks
    if options.seconds_per_time_mask is not None:
        count = max(1, int(frames / (100 * options.seconds_per_time_mask)))
    width = min(options.time_width, int(options.time_share * frames))
    for _ in range(count):
        start, stop = _stretch(frames, width, generator)
        masked[:, start:stop] = 0.0
    return masked


def _stretch(size: int, widest: int, generator: np.random.Generator) -> tuple[int, int]:
    width = int(generator.integers(0, widest + 1))
    start = int(generator.integers(0, size - width + 1))
    return start, start + width
