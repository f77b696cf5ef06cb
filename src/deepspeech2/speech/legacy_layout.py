"""Which tensor of Baidu's checkpoints is which of ours: names, shapes as stored, and the way between the layouts.

Both releases of PaddlePaddle/DeepSpeech store a projection as (inputs, outputs), the transpose of torch's, and a
GRU's recurrent weight as (size, 2 * size) update and reset gates followed by (size, size) candidate in one buffer
that is announced as (size, 3 * size).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepspeech2.errors import CheckpointError
from deepspeech2.speech.options import NetworkOptions

Storage = Literal["same", "transposed", "gru"]

_NORM = (
    ("w0", "weight", "weight"),
    ("w1", "moving_mean", "running_mean"),
    ("w2", "moving_variance", "running_var"),
    ("wbias", "bias", "bias"),
)


@dataclass(frozen=True)
class LegacyTensor:
    """One tensor of a Baidu checkpoint.

    Attributes:
        v2_name: Its member of a v2 archive.
        fluid_name: Its name in the fluid program; a fluid file stores tensors in the order of these names.
        shape: As the fluid release stores it; the v2 release stores the same values flat.
        key: The entry of our state dict; for a GRU's weight, what its two entries begin with.
        storage: How the stored values relate to ours.
    """

    v2_name: str
    fluid_name: str
    shape: tuple[int, ...]
    key: str
    storage: Storage = "same"


def legacy_tensors(options: NetworkOptions) -> list[LegacyTensor]:
    """List the tensors of a checkpoint of that architecture, in the order the layers were created."""
    tensors = [*_convolutions(options)]
    for layer in range(options.recurrent_layers):
        tensors += _recurrent_layer(options, layer)
    layers, number = options.recurrent_layers, len(options.convolutions) + options.recurrent_layers
    v2_name = f"___fc_layer_{layers if options.shared else 2 * layers}__"
    width = options.vocab_size + 1
    shape = (2 * options.recurrent_size, width)
    tensors.append(
        LegacyTensor(v2_name + ".w0", f"layer_{number}_fc_weight", shape, "output.weight", "transposed"),
    )
    tensors.append(LegacyTensor(v2_name + ".wbias", f"layer_{number}_fc_bias", (width,), "output.bias"))
    return tensors


def _convolutions(options: NetworkOptions) -> Iterator[LegacyTensor]:
    channels = 1
    for layer, convolution in enumerate(options.convolutions):
        shape = (convolution.channels, channels, *convolution.kernel)
        key = f"conv.{layer}.convolution.weight"
        yield LegacyTensor(f"___conv_{layer}__.w0", f"layer_{layer}_conv2d_weight", shape, key)
        yield from _norm(layer, f"layer_{layer}_", convolution.channels, f"conv.{layer}.norm")
        channels = convolution.channels


def _recurrent_layer(options: NetworkOptions, layer: int) -> Iterator[LegacyTensor]:
    size, convolutions = options.recurrent_size, len(options.convolutions)
    inputs = 2 * size if layer else options.sequence_size
    gru = options.cell == "gru"
    width = 3 * size if gru else size
    fluid = f"layer_{layer + convolutions}_"
    for place, (ours, theirs) in enumerate((("forward_", "forward_"), ("backward_", "reverse_"))):
        unit = 2 * layer + place
        if place == 0 or not options.shared:
            fc, prefix = (layer, fluid) if options.shared else (unit, fluid + theirs)
            path = f"recurrent.{layer}." + ("" if options.shared else ours)
            yield LegacyTensor(
                f"___fc_layer_{fc}__.w0",
                prefix + "fc_weight",
                (inputs, width),
                path + "projection.weight",
                "transposed",
            )
            yield from _norm(convolutions + fc, prefix, width, path + "norm")
        path = f"recurrent.{layer}.{ours}recurrence."
        if gru:
            weight = LegacyTensor(f"___gru_{unit}__.w0", f"{fluid}{theirs}gru_weight", (size, 3 * size), path, "gru")
            bias = LegacyTensor(f"___gru_{unit}__.wbias", f"{fluid}{theirs}gru_bias", (1, 3 * size), path + "bias")
        else:
            name = f"___recurrent_layer_{unit}__"
            weight = LegacyTensor(f"{name}.w0", f"{fluid}{theirs}rnn_weight", (size, size), path + "weight")
            bias = LegacyTensor(f"{name}.wbias", f"{fluid}{theirs}rnn_bias", (size,), path + "bias")
        yield weight
        yield bias


def _norm(number: int, fluid: str, width: int, path: str) -> Iterator[LegacyTensor]:
    for v2, theirs, ours in _NORM:
        yield LegacyTensor(f"___batch_norm_{number}__.{v2}", f"{fluid}batch_norm_{theirs}", (width,), f"{path}.{ours}")


def state_of(tensors: list[LegacyTensor], values: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """Bring stored values, found by v2 name, into our layout.

    Args:
        tensors: What the checkpoint holds.
        values: Flat or shaped values of every tensor by its v2 name, of the right size.
    """
    state: dict[str, Tensor] = {}
    for tensor in tensors:
        value = torch.from_numpy(values[tensor.v2_name])
        if tensor.storage == "gru":
            size, flat = tensor.shape[0], value.reshape(-1)
            state[tensor.key + "gate_weight"] = flat[: 2 * size * size].reshape(size, 2 * size).clone()
            state[tensor.key + "candidate_weight"] = flat[2 * size * size :].reshape(size, size).clone()
        elif tensor.storage == "transposed":
            state[tensor.key] = value.reshape(tensor.shape).t().contiguous()
        else:
            shape = tensor.shape[1:] if tensor.shape[0] == 1 and len(tensor.shape) == 2 else tensor.shape
            state[tensor.key] = value.reshape(shape)
    return state


def check_size(name: str, tensor: LegacyTensor, found: int | tuple[int, ...]) -> None:
    """Refuse a tensor that has not the shape its architecture gives it.

    Args:
        name: What the message calls it.
        tensor: What it should be.
        found: Its number of values, or its shape.

    Raises:
        CheckpointError: Naming both.
    """
    size = int(np.prod(tensor.shape, dtype=object))
    if found not in (size, tensor.shape):
        expected = " x ".join(map(str, tensor.shape))
        given = " x ".join(map(str, found)) if isinstance(found, tuple) else f"{found} values"
        raise CheckpointError(f"{name}: expected {expected} ({size} values) from the other tensors, found {given}")
