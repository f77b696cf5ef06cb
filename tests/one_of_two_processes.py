"""One of two processes that train together, each as on a machine of its own; run by a test, with torchrun's variables.

    python one_of_two_processes.py FOLDER

trains on FOLDER/RANK/tones.jsonl in several ways, and writes what came of each to FOLDER/RANK.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from deepspeech2.errors import InputError
from deepspeech2.speech import distributed
from deepspeech2.speech.data import preflight
from deepspeech2.speech.data.augment import Noise, Sometimes
from deepspeech2.speech.data.augmentation_config import AugmentationOptions
from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.data.loading import Batch, BatchLoader
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.distributed import World, joined_world
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.recipe import Recipe
from deepspeech2.speech.training_options import TrainingOptions
from deepspeech2.speech.training_setup import TrainingData, TrainingSetup, set_up_training

NETWORK = NetworkOptions(
    convolutions=(ConvolutionOptions(2, (41, 11), (4, 3)),), recurrent_layers=1, recurrent_size=4, cell="gru"
)
TRAINING = TrainingOptions(epochs=2, batching=BatchingOptions(2.0), average_best=0, workers=0)


def trained(setup: TrainingSetup) -> list[list[str]]:
    """The files this process is trained on, for each epoch, in their order."""
    loader, epochs = setup.trainer._train, [[] for _ in range(setup.trainer.options.epochs)]  # type: list[list[str]]

    class Watched(BatchLoader):
        def load(self, indices: Sequence[int], epoch: int = 0) -> Batch:  # type: ignore[override]
            epochs[epoch] += [self.utterances[int(index)].audio_path.name for index in indices]
            return super().load(indices, epoch)

    setup.trainer._train = Watched(**{name: getattr(loader, name) for name in loader.__dataclass_fields__})
    setup.trainer.run()
    return epochs


def refusal(*arguments: Any, world: World) -> str:
    """What the set-up says that it refuses, if it does."""
    try:
        set_up_training(*arguments, world=world)
    except InputError as error:
        return str(error)
    return ""


def threads_of_the_group() -> list[str]:
    """The threads of this process that exchange tensors with others, where the system lists threads."""
    names = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


def main() -> None:
    """Train and be refused."""
    distributed.PATIENCE = timedelta(minutes=5)
    folder = Path(sys.argv[1])
    with joined_world() as world:
        results = outcomes(world, folder / str(world.rank))
        assert threads_of_the_group() or sys.platform != "linux"
    results["threads left"] = threads_of_the_group()
    (folder / f"{world.rank}.json").write_text(json.dumps(results))


def outcomes(world: World, own: Path) -> dict[str, Any]:
    """What comes of each way to train on the data in a folder."""
    data = TrainingData(own / "tones.jsonl", own / "tones.jsonl", cache=own / "cache")
    recipe = Recipe(NETWORK, TRAINING)
    noise = Noise(read_manifest(own / "noise.jsonl"))
    noisy = replace(recipe, augmentation=AugmentationOptions(steps=(Sometimes(noise),)))
    machines = World(world.rank, 2, local_rank=0)

    decoded: list[str] = []
    load_audio = preflight.load_audio
    preflight.load_audio = lambda path, **more: decoded.append(path.name) or load_audio(path, **more)  # type: ignore

    results: dict[str, Any] = {}
    for name, chosen in (("cached", recipe), ("decoded", noisy)):
        decoded.clear()
        setup = set_up_training(data, chosen, own / name, world=machines)
        results[name] = {
            "decoded": sorted(decoded),
            "usable": [item.audio_path.name for item in setup.train.usable],
            "problems": [problem.detail for problem in (*setup.train.problems, *setup.train.recordings)],
            "trained": trained(setup),
        }
    decoded.clear()
    set_up_training(data, noisy, own / "shared", world=World(world.rank, 2, local_rank=world.rank))
    results["one machine"] = sorted(decoded)

    mine = replace(data, train=own / "other.jsonl")
    results["other manifest"] = refusal(mine, recipe, own / "refused", world=machines)
    longer = replace(recipe, training=replace(TRAINING, epochs=2 + world.rank))
    results["other options"] = refusal(data, longer, own / "refused", world=machines)
    return results


main()
