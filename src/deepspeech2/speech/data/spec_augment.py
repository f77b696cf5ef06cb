"""SpecAugment: warping of time, masking of frequency bands and stretches of time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from deepspeech2.speech.option_checks import ADDED_LATER, check_flag, check_number, check_positive, check_whole


@dataclass(frozen=True, slots=True)
class SpecAugmentOptions:
    """How a spectrogram is warped and how much of it masked (Park et al. 2019 and, for lengths that adapt, 2020).

    Attributes:
        frequency_masks: Number of bands masked.
        frequency_width: Widest band, in bins of 50 Hz.
        time_masks: Number of stretches masked.
        time_width: Longest stretch, in frames of 10 ms.
        time_share: No stretch is longer than this share of the utterance.
        seconds_per_time_mask: When given, utterances get one stretch for each so many seconds (at least one)
            instead of `time_masks`.
        most_time_masks: With `seconds_per_time_mask`, no utterance gets more.
        time_width_share: When given, the longest stretch is this share of the utterance instead of `time_width`.
        time_warp: A random moment is moved by at most so many frames, and what is before and after it stretched to fit;
            utterances of no more than twice as many stay as they are. 0 for none.
        mask_with_mean: Whether what is masked is set to the mean of the spectrogram at hand instead of zero, which is
            the mean of all that the normaliser has seen.
        probability: The share of utterances that are warped and masked; the others stay as they are.
    """

    frequency_masks: int = 2
    frequency_width: int = 27
    time_masks: int = 2
    time_width: int = 40
    time_share: float = 0.15
    seconds_per_time_mask: float | None = None
    most_time_masks: int | None = field(default=None, metadata=ADDED_LATER)
    time_width_share: float | None = field(default=None, metadata=ADDED_LATER)
    time_warp: int = field(default=0, metadata=ADDED_LATER)
    mask_with_mean: bool = field(default=False, metadata=ADDED_LATER)
    probability: float = field(default=1.0, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        what = "spec_augment"
        check_whole(what, frequency_masks=self.frequency_masks, frequency_width=self.frequency_width)
        check_whole(what, time_masks=self.time_masks, time_width=self.time_width)
        check_number(what, "from 0 to 1", 0, 1, time_share=self.time_share)
        if self.seconds_per_time_mask is not None:
            check_positive(what, seconds_per_time_mask=self.seconds_per_time_mask)
        if self.most_time_masks is not None:
            check_whole(what, most_time_masks=self.most_time_masks)
        if self.time_width_share is not None:
            check_number(what, "from 0 to 1", 0, 1, time_width_share=self.time_width_share)
        check_whole(what, time_warp=self.time_warp)
        check_flag(what, mask_with_mean=self.mask_with_mean)
        check_number(what, "from 0 to 1", 0, 1, probability=self.probability)


def spec_augment(
    features: NDArray[np.float32], options: SpecAugmentOptions, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Warp a normalised spectrogram and hide random bands and stretches of it.

    Args:
        features: Shape (161, frames), normalised; not changed.
        options: How far to warp and how much to mask.
        generator: Source of the random numbers.

    Returns:
        A copy of the same shape.
    """
    if options.probability < 1 and generator.random() >= options.probability:
        return features.copy()
    masked = _warped(features, options.time_warp, generator)
    hidden = masked.mean() if options.mask_with_mean else 0.0
    bins, frames = masked.shape
    for _ in range(options.frequency_masks):
        start, stop = _stretch(bins, min(options.frequency_width, bins), generator)
        masked[start:stop] = hidden
    width = options.time_width if options.time_width_share is None else int(options.time_width_share * frames)
    width = min(width, int(options.time_share * frames))
    for _ in range(_time_masks(options, frames)):
        start, stop = _stretch(frames, width, generator)
        masked[:, start:stop] = hidden
    return masked


def _time_masks(options: SpecAugmentOptions, frames: int) -> int:
    if options.seconds_per_time_mask is None:
        return options.time_masks
    count = max(1, int(frames / (100 * options.seconds_per_time_mask)))
    return count if options.most_time_masks is None else min(count, options.most_time_masks)


def _warped(features: NDArray[np.float32], furthest: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """A copy in which one moment is moved by up to so many frames, with cubic interpolation before and after it."""
    frames = features.shape[1]
    if furthest == 0 or frames <= 2 * furthest:
        return features.copy()
    moment = int(generator.integers(furthest, frames - furthest))
    # From one frame on, and up to the last but one: neither part is empty.
    moved = int(generator.integers(moment - furthest + 1, moment + furthest + 1))
    return np.concatenate([_resized(features[:, :moment], moved), _resized(features[:, moment:], frames - moved)], 1)


def _resized(features: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    image = torch.from_numpy(np.ascontiguousarray(features))[None, None]
    size = (features.shape[0], frames)
    resized: NDArray[np.float32] = interpolate(image, size=size, mode="bicubic", antialias=True)[0, 0].numpy()
    return resized


def _stretch(size: int, widest: int, generator: np.random.Generator) -> tuple[int, int]:
    width = int(generator.integers(0, widest + 1))
    start = int(generator.integers(0, size - width + 1))
    return start, start + width
