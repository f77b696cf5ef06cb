"""From manifests and a recipe to a trainer: vocabulary, preflight, normaliser, feature caches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from deepspeech2.errors import CheckpointError, ManifestError, OptionError
from deepspeech2.printing import printable
from deepspeech2.speech.audio import SAMPLE_RATE
from deepspeech2.speech.build import build_model, with_labels
from deepspeech2.speech.checkpoints import load_model
from deepspeech2.speech.data.augmentation_config import AugmentationOptions
from deepspeech2.speech.data.feature_cache import FeatureCache
from deepspeech2.speech.data.labels import read_labels
from deepspeech2.speech.data.loading import BatchLoader
from deepspeech2.speech.data.manifest import Utterance, data_digest, read_manifest
from deepspeech2.speech.data.preflight import PreflightOptions, PreflightReport
from deepspeech2.speech.data.prepare import NORMALIZER_FILE, NORMALIZER_UTTERANCES, fit_normalizer, prepared_beside
from deepspeech2.speech.data.recordings import recordings_of
from deepspeech2.speech.distributed import World
from deepspeech2.speech.features import Normalizer
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.options import NetworkOptions
from deepspeech2.speech.pretrained import choose_pretrained
from deepspeech2.speech.recipe import Recipe
from deepspeech2.speech.training import Trainer
from deepspeech2.speech.training_checkpoints import stored_labels, stored_normalizer
from deepspeech2.speech.training_folder import STATE_FILE
from deepspeech2.speech.training_identity import check_agreement
from deepspeech2.speech.training_vocabulary import choose_labels
from deepspeech2.speech.usable_speech import SpeechChecks


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The files a training works on.

    Attributes:
        train: Manifest to train on.
        dev: Manifest to judge epochs on.
        vocabulary: Vocabulary file; None for the initial model's, or without one ``vocabulary.txt`` beside `train`, or
            without that the 28 English symbols where they suffice and otherwise the characters that occur.
        normalizer: ``.npz`` with mean and std; None for the initial model's, or without one ``mean_std.npz`` beside
            `train`, or without that to measure them on `NORMALIZER_UTTERANCES` random utterances.
        initial_model: Checkpoint, or model of the package by its name, to start from instead of fresh weights; brings
            its network, normaliser and, where none is given, vocabulary.
        cache: Folder for spectrograms; None for ``cache`` in the training's folder.
        lowest_rate: Recordings of fewer samples per second are left out.
    """

    train: Path
    dev: Path
    vocabulary: Path | None = None
    normalizer: Path | None = None
    initial_model: Path | str | None = None
    cache: Path | None = None
    lowest_rate: int = SAMPLE_RATE


class TrainingSetup(NamedTuple):
    """A training that can begin.

    Attributes:
        trainer: The trainer, at its start.
        train: What the preflight of the training utterances found, and of the recordings they are augmented with.
        dev: What that of the dev utterances found.
    """

    trainer: Trainer
    train: PreflightReport
    dev: PreflightReport


def set_up_training(  # noqa: PLR0913
    data: TrainingData,
    recipe: Recipe,
    folder: Path,
    *,
    world: World | None = None,
    device: torch.device | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> TrainingSetup:
    """Check the data, build or load the network, fill the feature cache, and return a trainer.

    Utterances that cannot be used, damaged audio included, are left out and reported, and so are recordings of noise
    and rooms. With several processes those are left out that any machine cannot use: all have to train on the same.

    Args:
        data: The files.
        recipe: The network and how it is trained.
        folder: The training's folder.
        world: The processes that train together.
        device: Where the network is trained; None for the CPU.
        progress: Called with what is being done, how much of it is done, and how much there is.
        say: Called with a line about the vocabulary and one about the normaliser: which, and where it is from.

    Raises:
        ManifestError: A manifest cannot be read, or holds nothing usable.
        OptionError: The processes were given different data or options.
        VocabularyError: Vocabulary and network do not fit.
        CheckpointError: The folder has a training state that is damaged.
    """
    world = world or World()
    train, dev = read_manifest(data.train, texts=False), read_manifest(data.dev, texts=False)
    start = _start(data, recipe)
    say = say or (lambda line: None)
    labels = _labels(data, start, train, folder, say)
    network = start.options if start else recipe.network
    _agree(world, {"train": train, "dev": dev}, recipe.augmentation, labels, network)
    stride = math.prod(layer.stride[1] for layer in network.convolutions)
    checking = PreflightOptions(decode=False, stride=stride, lowest_rate=data.lowest_rate)
    checks = SpeechChecks(labels, checking, world, progress or (lambda what, done, total: None))
    caches = data.cache or folder / "cache"
    augmentation, unusable = checks.augmentation(recipe.augmentation)
    speeds = None if augmentation.steps else augmentation.speeds
    report, train_cache = _usable(checks, data.train, train, speeds, caches)
    dev_report, dev_cache = _usable(checks, data.dev, dev, (1.0,), caches)

    normalizer = _normalizer(data, start, report.usable, folder, recipe.training.seed, say) if world.leads else None
    normalizer = _shared(normalizer, network.frequencies, world)
    model = start or build_model(
        replace(recipe.network, vocab_size=len(labels)), seed=recipe.training.seed, labels=labels
    )
    model.normalizer = normalizer
    seed = recipe.training.seed
    loaders = (
        BatchLoader(report.usable, labels, normalizer, augmentation, train_cache, seed),
        BatchLoader(dev_report.usable, labels, normalizer, None, dev_cache, seed),
    )
    trainer = Trainer(model.to(device or "cpu"), *loaders, recipe.training, folder, world)
    return TrainingSetup(trainer, replace(report, recordings=unusable), dev_report)


def _agree(
    world: World,
    data: dict[str, list[Utterance]],
    augmentation: AugmentationOptions,
    labels: tuple[str, ...],
    network: NetworkOptions,
) -> None:
    """Refuse processes that would check other lists, or in another way, before the first list is checked.

    Raises:
        OptionError: Two differ.
    """
    if world.size == 1:
        return
    lists = {**data, "recordings": [recording for _, recording in recordings_of(augmentation)]}
    # Durations may come from headers, and a file that one machine lacks is no other list: it is left out and named.
    digests = {name: data_digest(replace(item, duration=0.0) for item in items)[:12] for name, items in lists.items()}
    steps = [type(step.augmentation).__name__ for step in augmentation.steps]
    alike = {"labels": labels, "network": asdict(network), "speeds": augmentation.speeds, "steps": steps}
    check_agreement(world, {"manifest": digests, **alike})


def _usable(
    checks: SpeechChecks, manifest: Path, listed: list[Utterance], speeds: tuple[float, ...] | None, caches: Path
) -> tuple[PreflightReport, FeatureCache | None]:
    """What can be used, and the cache of its spectrograms; without speeds none are kept, and audio is decoded now.

    Raises:
        ManifestError: Nothing can be used.
    """
    report = checks.utterances(listed, decode=speeds is None)
    cache: FeatureCache | None = None
    if speeds is not None and report.usable:
        report, cache = checks.spectrograms(report, speeds, caches)
    if not report.usable:
        raise ManifestError(f"{manifest}: {report.summary()}; the first: {report.problems[0]}")
    return report, cache


def _start(data: TrainingData, recipe: Recipe) -> DeepSpeech2 | None:
    if data.initial_model is None:
        return None
    shipped = choose_pretrained(data.initial_model)
    model = load_model(shipped.model if shipped else data.initial_model)
    wanted = replace(recipe.network, vocab_size=model.options.vocab_size)
    if wanted not in (model.options, replace(NetworkOptions(), vocab_size=model.options.vocab_size)):
        raise OptionError(
            f"the recipe's network is not that of {data.initial_model}; leave [network] out, or start without a model"
        )
    if data.vocabulary is not None:
        return with_labels(model, read_labels(data.vocabulary), seed=recipe.training.seed)
    return model


def _labels(
    data: TrainingData, start: DeepSpeech2 | None, train: list[Utterance], folder: Path, say: Callable[[str], None]
) -> tuple[str, ...]:
    begun = folder / STATE_FILE
    if start is None and data.vocabulary is None and begun.is_file():
        # As with the normaliser: a file written beside the manifest since does not keep a training from going on.
        labels = stored_labels(begun)
        say(f"vocabulary: the {len(labels)} characters of the training gone on with")
        return labels
    if start is None:
        return choose_labels(data.vocabulary, data.train, train, say)
    if start.labels is None:
        raise OptionError(f"{data.initial_model}: expected a checkpoint with labels, found none")
    say(f"vocabulary: the {len(start.labels)} characters of {printable(str(data.vocabulary or data.initial_model))}")
    return start.labels


def _normalizer(
    data: TrainingData,
    start: DeepSpeech2 | None,
    usable: tuple[Utterance, ...],
    folder: Path,
    seed: int,
    say: Callable[[str], None],
) -> Normalizer:
    if data.normalizer is None and start is not None and start.normalizer is not None:
        say(f"normaliser: that of {printable(str(data.initial_model))}")
        return start.normalizer
    begun = folder / STATE_FILE
    if data.normalizer is None and begun.is_file() and (stored := stored_normalizer(begun)) is not None:
        say("normaliser: that of the training gone on with")
        return stored
    # After that of a state: a file written beside the manifest since does not keep a training from going on.
    source = data.normalizer or prepared_beside(data.train, NORMALIZER_FILE)
    if source is not None:
        say(f"normaliser: {printable(source)}")
        return _of_file(source, given=data.normalizer is not None)
    say(f"normaliser: measured on {min(len(usable), NORMALIZER_UTTERANCES)} utterances")
    return fit_normalizer(usable, NORMALIZER_UTTERANCES, seed)


def _of_file(source: Path, *, given: bool) -> Normalizer:
    """A normaliser for this package's features, refused here by its file's name and not by the first batch."""
    normalizer, bins = Normalizer.load(source), NetworkOptions().frequencies
    if normalizer.mean.size != bins:
        why = "" if given else "; it lies beside the manifest, --normalizer names another"
        raise CheckpointError(f"{source}: expected mean and std of {bins} bins, found {normalizer.mean.size}{why}")
    return normalizer


def _shared(normalizer: Normalizer | None, frequencies: int, world: World) -> Normalizer:
    # Measured once: machines of different processors round logarithms differently.
    if world.size == 1 and normalizer is not None:
        return normalizer
    values = [0.0] * (2 * frequencies)
    if normalizer is not None:
        values = [*normalizer.mean.ravel().tolist(), *normalizer.std.ravel().tolist()]
    mean, std = np.array(world.told(values), np.float32).reshape(2, frequencies)
    return Normalizer(mean, std)
