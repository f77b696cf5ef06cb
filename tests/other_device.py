"""A device that is not the CPU, for machines without one: `board`, whose tensors hold CPU tensors out of reach.

As on a GPU, an operator takes tensors of one device only (numbers of no dimension excepted), and `numpy()` is refused.
`python tests/other_device.py MANIFEST FOLDER` runs everything that claims to work on any device, once here and once
there, and prints the differences as JSON. It is a program of its own since torch keeps a device that is registered.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from deepspeech2.ctc import BeamOptions
from deepspeech2.speech.build import build_model
from deepspeech2.speech.data.batching import BatchingOptions
from deepspeech2.speech.data.loading import BatchLoader
from deepspeech2.speech.data.manifest import read_manifest
from deepspeech2.speech.data.prepare import fit_normalizer
from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.operators import FUNCTIONS
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions
from deepspeech2.speech.recognizer import Recognizer
from deepspeech2.speech.training import Trainer
from deepspeech2.speech.training_options import TrainingOptions

_setup_privateuseone_for_python_backend("board")
BOARD = torch.device("board", 0)
LABELS = (" ", "a", "b", "c", "d")
SIMPLE = NetworkOptions(5, (ConvolutionOptions(4, (41, 11), (4, 3)),), recurrent_layers=2, recurrent_size=8)


class OnBoard(Tensor):
    """A tensor there."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnBoard:
        shape = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        tensor = Tensor._make_wrapper_subclass(cls, held.size(), device=BOARD, **shape)
        tensor.held = held
        return tensor

    @classmethod
    def __torch_dispatch__(cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(operator, args, kwargs or {})


class Board(TorchDispatchMode):
    """While it is on, `board` is a device."""

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(operator, args, kwargs or {})


def run(operator: Any, args: Any, kwargs: Any) -> Any:
    name = operator._schema.name
    if name.startswith("deepspeech2::"):  # ours, which run other operators
        with Board():
            return FUNCTIONS[name.removeprefix("deepspeech2::")](*args, **kwargs)
    leaves = tree_leaves((args, kwargs))
    there = [leaf for leaf in leaves if isinstance(leaf, OnBoard)]
    here = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, OnBoard) and leaf.dim()]
    if there and here and name != "aten::copy_":
        raise RuntimeError(f"{operator}: tensors on board and on the CPU")
    target = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
    stays = bool(there) if target is None else target.type == "board"

    def taken(leaf: Any) -> Any:
        if isinstance(leaf, torch.device):
            return torch.device("cpu")
        return leaf.held if isinstance(leaf, OnBoard) else leaf

    def given(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        same = [tensor for tensor in there if tensor.held is leaf]  # an operator in place
        if same:
            return same[0] if stays else leaf.clone()
        return OnBoard(leaf) if stays else leaf

    return tree_map(given, operator(*tree_map(taken, args), **tree_map(taken, kwargs)))


def difference(one: Tensor, other: Tensor) -> float:
    return float((one.detach().cpu() - other.detach().cpu()).abs().max())


def network(options: NetworkOptions, training: bool) -> dict[str, float]:
    """Outputs and gradients, with the frames here and there."""
    x, frames = torch.randn(3, 161, 60), torch.tensor([60, 31, 9])
    models = [build_model(options, seed=1).train(training) for _ in range(2)]
    expected = models[0](x, frames)[0]
    expected.square().mean().backward()
    found = {}
    with Board():
        models[1].to(BOARD)
        for where, given in (("here", frames), ("there", frames.to(BOARD))):
            models[1].zero_grad()
            output, _ = models[1](x.to(BOARD), given)
            assert output.device == BOARD
            output.square().mean().backward()
            pairs = zip(*(model.parameters() for model in models), strict=True)
            found[f"output, frames {where}"] = difference(expected, output)
            found[f"gradient, frames {where}"] = max(difference(one.grad, other.grad) for one, other in pairs)
    return found


def trained(loader: BatchLoader, folder: Path, epochs: int, resume: bool = False) -> DeepSpeech2:
    options = TrainingOptions(
        epochs=epochs, batching=BatchingOptions(batch_seconds=8.0), workers=0, average_best=0, optimizer="adamw"
    )
    model = build_model(SIMPLE, seed=1, labels=LABELS)
    model.normalizer = loader.normalizer
    with Board():
        trainer = Trainer(model.to(BOARD if "there" in folder.name else "cpu"), loader, loader, options, folder)
        if resume:
            trainer.resume()
        trainer.run()
        return trainer.model.to("cpu")


def training(manifest: Path, folder: Path) -> dict[str, float]:
    """Two epochs here, two there, and one there after one that was interrupted."""
    utterances = read_manifest(manifest)
    loader = BatchLoader(utterances, LABELS, fit_normalizer(utterances, 8))
    here, there = (trained(loader, folder / name, 2).state_dict() for name in ("here", "there"))
    trained(loader, folder / "there-again", 1)
    again = trained(loader, folder / "there-again", 2, resume=True).state_dict()
    return {
        "trained": max(difference(here[name], there[name]) for name in here),
        "resumed": max(difference(there[name], again[name]) for name in here),
    }


def recognition(manifest: Path) -> dict[str, float | bool]:
    utterances = read_manifest(manifest)
    model = build_model(replace(SIMPLE, cell="gru"), seed=2, labels=LABELS)
    model.normalizer = fit_normalizer(utterances, 8)
    here = Recognizer(model, beam=BeamOptions(beam_size=8))
    found: dict[str, float | bool] = {}
    for weights in ("float32", "int8"):
        with Board():
            there = Recognizer(model, beam=BeamOptions(beam_size=8), device="board", weights=weights)
            found[f"log-probabilities, {weights}"] = float(
                abs(there.log_probabilities(utterances[0]) - here.log_probabilities(utterances[0])).max()
            )
            found[f"text, {weights}"] = there.transcribe(utterances[0]).text == here.transcribe(utterances[0]).text
    return found


def main(manifest: Path, folder: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    cases: dict[str, Callable[[], dict[str, Any]]] = {
        f"{cell} {'training' if mode else 'evaluation'}": lambda cell=cell, mode=mode: network(
            replace(SIMPLE, cell=cell), mode
        )
        for cell in ("simple", "gru")
        for mode in (True, False)
    }
    cases["training"] = lambda: training(manifest, folder)
    cases["recognition"] = lambda: recognition(manifest)
    sys.stdout.write(json.dumps({name: case() for name, case in cases.items()}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
