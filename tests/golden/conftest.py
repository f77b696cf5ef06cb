"""The goldens: what the original network computed, with the weights under this package's names."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deepspeech2.speech.options import NetworkOptions, published_convolutions

DATA = Path(__file__).parent / "data"
ONE = published_convolutions(1)
OPTIONS = {
    "rnn_shared": NetworkOptions(recurrent_size=16),
    "rnn_unshared": NetworkOptions(convolutions=ONE, recurrent_layers=2, recurrent_size=12, shared=False),
    "gru": NetworkOptions(convolutions=ONE, recurrent_layers=2, recurrent_size=12, cell="gru"),
}
NORM = {
    "batch_norm_weight": "weight",
    "batch_norm_bias": "bias",
    "batch_norm_moving_mean": "running_mean",
    "batch_norm_moving_variance": "running_var",
}


@dataclass(frozen=True)
class Golden:
    name: str
    options: NetworkOptions
    arrays: Mapping[str, NDArray]

    def tensor(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])

    def tensors(self, prefix: str) -> dict[str, torch.Tensor]:
        """All arrays below `prefix`, renamed and reshaped by hand: independent of the readers of checkpoints."""
        found: dict[str, torch.Tensor] = {}
        for key, array in self.arrays.items():
            if key.startswith(prefix):
                found.update(self._rename(key.removeprefix(prefix), torch.from_numpy(array)))
        return found

    def _rename(self, name: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
        _, number, rest = name.split("_", 2)
        layer = int(number) - len(self.options.convolutions)
        if rest == "conv2d_weight":
            return {f"conv.{number}.convolution.weight": value}
        if layer < 0:
            return {f"conv.{number}.norm.{NORM[rest]}": value}
        if layer == self.options.recurrent_layers:
            return {"output.weight": value.T} if rest == "fc_weight" else {"output.bias": value}
        direction = "forward_" if rest.startswith("forward_") else "backward_" if rest.startswith("reverse_") else ""
        rest = rest.removeprefix("forward_").removeprefix("reverse_")
        path = f"recurrent.{layer}.{direction}"
        if rest == "fc_weight":
            return {path + "projection.weight": value.T}
        if rest in NORM:
            return {path + "norm." + NORM[rest]: value}
        if rest == "gru_weight":
            size, flat = self.options.recurrent_size, value.flatten()
            return {
                path + "recurrence.gate_weight": flat[: 2 * size * size].view(size, 2 * size),
                path + "recurrence.candidate_weight": flat[2 * size * size :].view(size, size),
            }
        return {path + "recurrence." + rest.removeprefix("rnn_").removeprefix("gru_"): value.squeeze(0)}


@pytest.fixture(scope="session", params=sorted(OPTIONS))
def golden(request: pytest.FixtureRequest) -> Golden:
    with np.load(DATA / request.param / "golden.npz") as arrays:
        return Golden(request.param, OPTIONS[request.param], dict(arrays))
