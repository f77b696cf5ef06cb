"""Baidu's JSON description of an augmentation pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from deepspeech2.errors import OptionError
from deepspeech2.speech.data.augment import (
    Augmentation,
    BandLimit,
    ImpulseResponse,
    Noise,
    Shift,
    Sometimes,
    Speed,
    Volume,
)
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.data.spec_augment import SpecAugmentOptions
from deepspeech2.speech.option_checks import check, check_kind, check_positive, check_whole


@dataclass(frozen=True, slots=True)
class AugmentationOptions:
    """What is done to the speech a network is trained on.

    Attributes:
        steps: Changes of the samples, in order.
        speeds: Rates one of which is drawn for every utterance, before the steps. Unlike a `Speed` step, their
            spectrograms can be kept in a feature cache.
        spec_augment: Masking of the spectrogram; None for none.
        first_epoch: Epochs before this one, counted from 0, see the speech as it is.
    """

    steps: tuple[Sometimes, ...] = ()
    speeds: tuple[float, ...] = (1.0,)
    spec_augment: SpecAugmentOptions | None = None
    first_epoch: int = 0

    def __post_init__(self) -> None:
        what = "augmentation"
        for name in ("steps", "speeds"):
            value = getattr(self, name)
            check(what, name, "as a tuple or list", value, holds=isinstance(value, (tuple, list)))
        for step in self.steps:
            check_kind(what, Sometimes, steps=step)
        check(what, "speeds", "of at least one", self.speeds, holds=len(self.speeds) > 0)
        for speed in self.speeds:
            check_positive(what, speeds=speed)
        if self.spec_augment is not None:
            check_kind(what, SpecAugmentOptions, spec_augment=self.spec_augment)
        check_whole(what, first_epoch=self.first_epoch)


def read_augmentation(path: str | os.PathLike[str]) -> AugmentationOptions:
    """Read a JSON list of ``{"type", "params", "prob"}`` as PaddlePaddle's DeepSpeech does.

    Types: ``volume``, ``speed``, ``shift``, ``resample``, ``noise``, ``impulse`` and ``specaug``. Manifests named in
    it are looked for beside the file, then in the current directory. ``bayesian_normal`` is refused: it only
    changes the level, which the features bring to -20 dB in any case. A step with ``prob`` 0 is passed over,
    whatever it is. Of ``specaug`` there is one; ``p`` is 1 and ``W`` 40 where they are not given.

    Raises:
        OptionError: The file is missing or malformed, or holds a type or a parameter that is not known or not done.
    """
    source = Path(path)
    try:
        steps = msgspec.json.decode(source.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OptionError(f"{source}: cannot be read as JSON ({error})") from error
    if not isinstance(steps, list):
        raise OptionError(f'{source}: expected a list of {{"type", "params", "prob"}}, found {type(steps).__name__}')

    parsed: list[Sometimes] = []
    masking: SpecAugmentOptions | None = None
    for position, step in enumerate(steps):
        where = f"{source}: step {position + 1}"
        kind, params, probability = _parts(step, where)
        if probability == 0:
            continue  # examples of such files list steps that are turned off, of types that are not done here, too
        if kind == "specaug":
            if masking is not None:
                raise OptionError(f'{where}: expected one step "specaug", found a second; put their masks into one')
            masking = _spec_augment(params, probability, where)
        else:
            parsed.append(Sometimes(_build(kind, params, where, source.parent), probability))
    return AugmentationOptions(steps=tuple(parsed), spec_augment=masking)


def _parts(step: Any, where: str) -> tuple[str, dict[str, Any], float]:
    if not isinstance(step, dict) or not isinstance(step.get("type"), str):
        raise OptionError(f'{where}: expected {{"type", "params", "prob"}}, found {step!r}')
    params, probability = step.get("params", {}), step.get("prob", 1.0)
    if not isinstance(params, dict):
        raise OptionError(f'{where}: expected "params" as an object, found {params!r}')
    if isinstance(probability, bool) or not isinstance(probability, (int, float)) or not 0 <= probability <= 1:
        raise OptionError(f'{where}: expected "prob" from 0 to 1, found {probability!r}')
    return step["type"], params, float(probability)


# Type -> (class, {Baidu's parameter: ours}).
_PLAIN: dict[str, tuple[Callable[..., Augmentation], dict[str, str]]] = {
    "volume": (Volume, {"min_gain_dBFS": "lowest", "max_gain_dBFS": "highest"}),
    "speed": (Speed, {"min_speed_rate": "lowest", "max_speed_rate": "highest", "num_rates": "rates"}),
    "shift": (Shift, {"min_shift_ms": "lowest", "max_shift_ms": "highest"}),
    "resample": (BandLimit, {"new_sample_rate": "sample_rate"}),
}
_RECORDED: dict[str, tuple[Callable[..., Augmentation], str, dict[str, str]]] = {
    "noise": (Noise, "noise_manifest_path", {"min_snr_dB": "lowest", "max_snr_dB": "highest"}),
    "impulse": (ImpulseResponse, "impulse_manifest_path", {}),
}
_MASKING = {
    "F": "frequency_width",
    "T": "time_width",
    "n_freq_masks": "frequency_masks",
    "n_time_masks": "time_masks",
    "p": "time_share",
    "W": "time_warp",
    "adaptive_number_ratio": "masks_per_frame",
    "adaptive_size_ratio": "time_width_share",
    "max_n_time_masks": "most_time_masks",
}
# The original's own defaults, not ours; `time_width_share` is none at all where it is 0.
_OF_THE_ORIGINAL = {"time_share": 1.0, "time_warp": 40, "most_time_masks": 20, "masks_per_frame": 0}
# A program that writes JSON may write these as 2.0, which no generator of random integers takes.
_WHOLE = {"num_rates", "new_sample_rate", "F", "T", "n_freq_masks", "n_time_masks", "W", "max_n_time_masks"}


def _build(kind: str, params: dict[str, Any], where: str, folder: Path) -> Augmentation:
    if kind in _PLAIN:
        build, names = _PLAIN[kind]
        return build(**_rename(params, names, where, kind))
    if kind in _RECORDED:
        build, key, names = _RECORDED[kind]
        rest = {name: value for name, value in params.items() if name != key}
        manifest = params.get(key)
        if not isinstance(manifest, str):
            raise OptionError(f'{where}: expected "{key}" with the path of a manifest, found {manifest!r}')
        path = folder / manifest if (folder / manifest).exists() else Path(manifest)
        return build(recordings=tuple(read_manifest(path, texts=False)), **_rename(rest, names, where, kind))
    known = ", ".join(sorted([*_PLAIN, *_RECORDED, "specaug"]))
    raise OptionError(f'{where}: expected a type of {known}, found "{kind}"')


def _spec_augment(params: dict[str, Any], probability: float, where: str) -> SpecAugmentOptions:
    rest = dict(params)
    if (mode := rest.pop("warp_mode", "PIL")) != "PIL":
        raise OptionError(f'{where}: expected "warp_mode" of "PIL", which is cubic interpolation, found {mode!r}')
    if not isinstance(with_zero := rest.pop("replace_with_zero", True), bool):
        raise OptionError(f'{where}: expected "replace_with_zero" as true or false, found {with_zero!r}')
    options = _OF_THE_ORIGINAL | _rename(rest, _MASKING, where, "specaug")
    masks_per_frame = options.pop("masks_per_frame")
    if not 0 <= masks_per_frame <= 1:
        raise OptionError(f'{where}: expected "adaptive_number_ratio" from 0 to 1, found {masks_per_frame}')
    if masks_per_frame:
        options["seconds_per_time_mask"] = 0.01 / masks_per_frame
    else:
        del options["most_time_masks"]
    if not options.get("time_width_share"):
        options.pop("time_width_share", None)
    return SpecAugmentOptions(**options, mask_with_mean=not with_zero, probability=probability)


def _rename(params: dict[str, Any], names: dict[str, str], where: str, kind: str) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for name, value in params.items():
        if name not in names:
            raise OptionError(f'{where}: "{kind}" knows the parameters {", ".join(names)}, found "{name}"')
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise OptionError(f'{where}: expected "{name}" as a number, found {value!r}')
        if name in _WHOLE and isinstance(value, float) and not value.is_integer():
            raise OptionError(f'{where}: expected "{name}" as a whole number, found {value!r}')
        renamed[names[name]] = int(value) if name in _WHOLE else value
    return renamed
