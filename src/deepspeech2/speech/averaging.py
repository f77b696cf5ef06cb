"""The mean of several epochs' weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepspeech2.speech.checkpoints import load_model
from deepspeech2.speech.network import DeepSpeech2


def average_models(paths: Sequence[Path]) -> DeepSpeech2:
    """The network whose parameters and running statistics are the means of several models' (Polyak averaging).

    Raises:
        CheckpointError: A model cannot be read.
    """
    models = [load_model(path) for path in paths]
    result = models[0]
    sums = {name: tensor.double() for name, tensor in result.state_dict().items()}
    for model in models[1:]:
        for name, tensor in model.state_dict().items():
            sums[name] += tensor
    result.load_state_dict({name: (tensor / len(models)).float() for name, tensor in sums.items()})
    return result
