"""What epochs are judged by is made within the bounds of the training's batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from deepspeech2.ctc import Alphabet
from deepspeech2.speech.build import build_model
from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.data.loading import Batch, BatchLoader
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.data.prepare import fit_normalizer
from deepspeech2.speech.objective import evaluate_greedy
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.training_options import TrainingOptions

LABELS = (" ", "a", "b", "c", "d")
NETWORK = NetworkOptions(
    vocab_size=5, convolutions=(ConvolutionOptions(2, (41, 11), (4, 3)),), recurrent_layers=1, recurrent_size=4
)


@pytest.mark.parametrize("how", [{}, {"sortagrad": False}, {"length_jitter": 0.5, "sortagrad": False, "seed": 3}])
def test_dev_batches_keep_to_the_bounds_and_to_the_order_of_length(
    write_tones: Callable[..., Path], random_texts: Callable[[int], list[str]], how: dict[str, Any]
) -> None:
    utterances = read_manifest(write_tones(random_texts(16)))
    loaded: list[list[int]] = []

    class Watched(BatchLoader):
        def load(self, indices: Sequence[int], epoch: int = 0) -> Batch:
            loaded.append([int(index) for index in indices])
            return super().load(indices, epoch)

    loader = Watched(utterances, LABELS, fit_normalizer(utterances, 4))
    options = TrainingOptions(batching=BatchingOptions(batch_seconds=6.0, batch_utterances=3, **how), workers=0)
    evaluate_greedy(build_model(NETWORK, seed=1, labels=LABELS), loader, Alphabet(LABELS), options)
    seconds = [utterances[index].duration for batch in loaded for index in batch]
    assert seconds == sorted(utterance.duration for utterance in utterances)
    assert [len(batch) for batch in loaded] == [3, 3, 3, 3, 3, 1]
