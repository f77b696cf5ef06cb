"""From a plan of batches to tensors: loading, augmenting, normalising and padding, ahead of the training step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepspeech2.errors import AudioError
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.data.augment import Sometimes, augment, change_speed
from deepspeech2.speech.data.augmentation_config import AugmentationOptions
from deepspeech2.speech.data.feature_cache import FeatureCache, utterance_spectrogram
from deepspeech2.speech.data.labels import encode_text
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.data.spec_augment import spec_augment
from deepspeech2.speech.features import FREQUENCIES, Normalizer, spectrogram


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded utterances, ready for the network.

    Attributes:
        features: Normalised spectrograms, (batch, 161, time), float32, zero past each utterance's end.
        frames: Valid frames of each, (batch,), int64.
        labels: Label indices of all texts, one after the other, (sum of label_lengths,), int64.
        label_lengths: Characters of each text, (batch,), int64.
        indices: Which utterances these are, in the order of the list they came from.
    """

    features: Tensor
    frames: Tensor
    labels: Tensor
    label_lengths: Tensor
    indices: tuple[int, ...]


@dataclass(frozen=True)
class BatchLoader:
    """Makes batches of a list of utterances.

    What a batch holds depends on the seed, the epoch and the utterances in it, never on threads or on what was
    loaded before: any batch of any epoch can be made again. An utterance of which the steps of the augmentation leave
    nothing that has a spectrogram (shifted out of itself, faster than a window, too loud for float32) is given as it
    was recorded, masked all the same.

    Attributes:
        utterances: The list that indices refer to.
        labels: The characters of the model.
        normalizer: Mean and deviation of each frequency bin.
        augmentation: What is done to the speech; None for nothing.
        cache: Spectrograms computed before, for the same list; None to compute them each time.
        seed: Where the random numbers start.
    """

    utterances: Sequence[Utterance]
    labels: Sequence[str]
    normalizer: Normalizer
    augmentation: AugmentationOptions | None = None
    cache: FeatureCache | None = None
    seed: int = 0

    def load(self, indices: Sequence[int] | NDArray[np.int64], epoch: int = 0) -> Batch:
        """Make one batch.

        Args:
            indices: Which utterances.
            epoch: Which epoch's augmentation.

        Raises:
            AudioError: An utterance cannot be read.
            VocabularyError: A text cannot be spelled.
        """
        chosen = [int(index) for index in indices]
        spectrograms = [self._features(index, epoch) for index in chosen]
        lengths = [features.shape[1] for features in spectrograms]
        padded = np.zeros((len(chosen), FREQUENCIES, max(lengths, default=0)), np.float32)
        for row, features in zip(padded, spectrograms, strict=True):
            row[:, : features.shape[1]] = features
        texts = [encode_text(self.utterances[index].text, self.labels) for index in chosen]
        return Batch(
            features=torch.from_numpy(padded),
            frames=torch.tensor(lengths, dtype=torch.int64),
            labels=torch.tensor([label for text in texts for label in text], dtype=torch.int64),
            label_lengths=torch.tensor([len(text) for text in texts], dtype=torch.int64),
            indices=tuple(chosen),
        )

    def _features(self, index: int, epoch: int) -> NDArray[np.float32]:
        options = self.augmentation
        if options is None or epoch < options.first_epoch:
            return self.normalizer(self._spectrogram(index, 1.0))
        generator = np.random.default_rng([self.seed, epoch, index])
        speed = options.speeds[int(generator.integers(len(options.speeds)))]
        if options.steps:
            raw = self._changed_spectrogram(index, speed, options.steps, generator)
        else:
            raw = self._spectrogram(index, speed)
        features = self.normalizer(raw)
        return spec_augment(features, options.spec_augment, generator) if options.spec_augment else features

    def _changed_spectrogram(
        self, index: int, speed: float, steps: Sequence[Sometimes], generator: np.random.Generator
    ) -> NDArray[np.float32]:
        recorded, name = self._samples(index), self.utterances[index].name
        with np.errstate(over="ignore", invalid="ignore"):  # what is no number is found by `spectrogram`
            changed = augment(change_speed(recorded, speed), steps, generator)
        try:
            return spectrogram(changed, name=name)
        except AudioError:
            return spectrogram(recorded, name=name)

    def _spectrogram(self, index: int, speed: float) -> NDArray[np.float32]:
        if self.cache is not None:
            return self.cache.get(index, speed)
        return utterance_spectrogram(self.utterances[index], speed)

    def _samples(self, index: int) -> NDArray[np.float32]:
        utterance = self.utterances[index]
        return load_audio(
            utterance.audio_path,
            offset_seconds=utterance.offset,
            duration_seconds=utterance.duration or None,
            channel=utterance.channel,
        )


def load_ahead(
    loader: BatchLoader, plan: Iterable[Sequence[int] | NDArray[np.int64]], epoch: int, *, workers: int = 1
) -> Iterator[Batch]:
    """Yield the batches of a plan in its order, made by threads a few batches ahead.

    Decoding, Fourier transforms and copies leave the interpreter lock, so that threads suffice. With `workers` 0
    each batch is made when it is asked for.

    Raises:
        AudioError: An utterance cannot be read; raised in its turn, not earlier.
    """
    if workers <= 0:
        for indices in plan:
            yield loader.load(indices, epoch)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        waiting: deque[Future[Batch]] = deque()
        try:
            for indices in plan:
                waiting.append(pool.submit(loader.load, indices, epoch))
                if len(waiting) > workers + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
