"""The recordings an augmentation draws from: noise and rooms, looked at before hours are spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from deepspeech2.errors import AudioError, ManifestError
from deepspeech2.speech.data.augment import Recorded, Sometimes
from deepspeech2.speech.data.augmentation_config import AugmentationOptions
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.data.preflight import Problem, audio_problem

Drawn = tuple[type[Recorded], Utterance]
"""A recording and what it is drawn for, on which depends how it is read."""


def recordings_of(options: AugmentationOptions) -> tuple[Drawn, ...]:
    """Everything the steps draw from, each once, in their order."""
    steps = [step.augmentation for step in options.steps]
    return tuple(
        dict.fromkeys((type(step), item) for step in steps if isinstance(step, Recorded) for item in step.recordings)
    )


def check_recording(drawn: Drawn) -> Problem | None:
    """Decode a recording as training does; None when it can be used, as silent noise can, which adds nothing."""
    kind, recording = drawn
    try:
        kind.read(recording)
    except AudioError as error:
        return audio_problem(recording, error)
    return None


def without_recordings(options: AugmentationOptions, left_out: Mapping[Drawn, Problem]) -> AugmentationOptions:
    """The same augmentation, drawing from the recordings that remain, in their order.

    Args:
        options: The augmentation.
        left_out: What it is not to draw, and why.

    Raises:
        ManifestError: Nothing remains for one of the steps.
    """
    if not left_out:
        return options
    return replace(options, steps=tuple(_remaining(step, left_out) for step in options.steps))


def _remaining(step: Sometimes, left_out: Mapping[Drawn, Problem]) -> Sometimes:
    augmentation = step.augmentation
    if not isinstance(augmentation, Recorded):
        return step
    kind, recordings = type(augmentation), augmentation.recordings
    kept = tuple(item for item in recordings if (kind, item) not in left_out)
    if not kept:
        raise ManifestError(
            f"augmentation: none of the {len(recordings)} recordings for {kind.__name__} can be used; the first: "
            f"{left_out[kind, recordings[0]]}"
        )
    return replace(step, augmentation=replace(augmentation, recordings=kept))
