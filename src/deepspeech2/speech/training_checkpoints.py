"""The state of a training on disk: everything that is needed to go on as if nothing had happened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from deepspeech2.errors import CheckpointError, OptionError
from deepspeech2.files import replacement
from deepspeech2.speech.features import Normalizer
from deepspeech2.speech.training_identity import first_difference

_FORMAT = "deepspeech2 training state 1"


@dataclass
class TrainingState:
    """Where a training stands.

    Attributes:
        step: Updates made.
        epoch: The current epoch, from 0.
        position: Batches of this epoch that are behind.
        loss_sum: Sum of this epoch's losses so far, in nats.
        characters: Characters those losses are of.
        skipped: Utterances of this epoch that CTC could not fit.
        history: One record for every finished epoch.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    loss_sum: float = 0.0
    characters: int = 0
    skipped: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def save_state(
    path: Path, state: TrainingState, model: nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, Any]
) -> None:
    """Write a training state; the file appears whole or the old one stays.

    The file is safetensors: nothing in it is ever executed.

    Args:
        path: Where to.
        state: Position and history.
        model: Its parameters, running statistics and normaliser are written.
        optimizer: Its moments are written.
        identity: What must be the same when the training goes on: options, labels, data.

    Raises:
        CheckpointError: The file cannot be written.
    """
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    tensors["random/cpu"] = torch.get_rng_state()
    normalizer = getattr(model, "normalizer", None)
    if isinstance(normalizer, Normalizer):
        tensors |= {f"normalizer/{name}": torch.from_numpy(getattr(normalizer, name)) for name in ("mean", "std")}
    header = {"format": _FORMAT, "state": _encode(state), "identity": _encode(identity)}
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        with replacement(path) as temporary:
            save_file(copies, temporary, header)
            # Renaming before the data is on the disk could leave an empty file after a power cut.
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
    except (OSError, OptionError, SafetensorError) as error:
        said = " ".join(str(error).split())
        before = "the state before it is still there" if path.is_file() else "no state was saved before it"
        raise CheckpointError(f"{path}: cannot be written ({said}); {before}") from error


def load_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: dict[str, Any]
) -> TrainingState:
    """Put a training state back into a model and an optimizer.

    Raises:
        CheckpointError: The file is missing or damaged, or belongs to a training with other options, labels or
            data; the message names the first that differs.
    """
    with _opened(path) as file:
        header = file.metadata()
        _check_identity(path, msgspec.json.decode(header["identity"]), identity)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = msgspec.convert(msgspec.json.decode(header["state"]), TrainingState)
    try:
        model.load_state_dict(_under(tensors, "model/"))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: does not fit the network ({' '.join(str(error).split())[:200]})") from error
    _load_moments(optimizer, _under(tensors, "optimizer/"))
    torch.set_rng_state(tensors["random/cpu"])
    return state


def stored_normalizer(path: Path) -> Normalizer | None:
    """The normaliser in a training state, if it has one.

    Raises:
        CheckpointError: The file is damaged.
    """
    with _opened(path) as file:
        if "normalizer/mean" not in file.keys():  # noqa: SIM118
            return None
        return Normalizer(*(file.get_tensor(f"normalizer/{name}").numpy() for name in ("mean", "std")))


def stored_labels(path: Path) -> tuple[str, ...]:
    """The characters of the training that a state belongs to.

    Raises:
        CheckpointError: The file is damaged.
    """
    with _opened(path) as file:
        return tuple(msgspec.json.decode(file.metadata()["identity"])["labels"])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(str(path), "pt") as file:
            found = (file.metadata() or {}).get("format")
            if found != _FORMAT:
                raise CheckpointError(f"{path}: expected a training state of this package, found {found}")
            yield file
    except (OSError, SafetensorError, KeyError, msgspec.MsgspecError) as error:
        raise CheckpointError(f"{path}: cannot be read as a training state ({error})") from error


def _check_identity(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    different = first_difference(found, expected)
    if different:
        key, present, wanted = different
        raise CheckpointError(
            f"{path}: the training it belongs to had {key} {present}, this one has {wanted}; resume with the same, "
            "or train into another folder"
        )


def _load_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, moment = name.partition("/")
        moments.setdefault(int(index), {})[moment] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()
