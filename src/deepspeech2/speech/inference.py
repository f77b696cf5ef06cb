"""A network made ready for inference: normalisations folded away, recurrent weights stored in fewer bytes.

Folding changes log-probabilities by rounding only (about 1e-5). With `bfloat16` or `int8` the recurrent weights are
rounded, and nothing else; docs/speed.md has the word error rates this costs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

import deepspeech2.speech.operation_counts  # noqa: F401  (the counter learns these operators)
from deepspeech2.errors import OptionError
from deepspeech2.speech.folding import fold
from deepspeech2.speech.network import (
    ACTIVATION_LIMIT,
    AcousticNetwork,
    Affine,
    BatchNorm,
    ConvolutionLayer,
    DeepSpeech2,
    GRURecurrence,
    SeparateRecurrentLayer,
    SharedRecurrentLayer,
    SimpleRecurrence,
)
from deepspeech2.speech.recurrence_inference import gru_states_of_both, simple_states
from deepspeech2.speech.stored_weights import WeightFormat, check_format, store_weight

DIRECTIONS = ("forward", "backward")


class InferenceNetwork(AcousticNetwork):
    """What `optimize_for_inference` makes of a network; called like it, and not trained or saved.

    Attributes:
        options: Those of the network.
        weights: How its recurrent weights are stored.
    """

    def __init__(self, model: DeepSpeech2, weights: WeightFormat) -> None:
        super().__init__()
        self.options, self.weights = model.options, weights
        self.conv = nn.ModuleList(map(_FoldedConvolution, model.conv))
        self.recurrent = nn.ModuleList(_layer(layer, weights) for layer in model.recurrent)
        self.output = _FixedProduct(model.output.weight, model.output.bias)
        self.eval()

    def train(self, mode: bool = True) -> InferenceNetwork:
        """Stay in evaluation mode.

        Raises:
            OptionError: Training is asked for.
        """
        if mode:
            raise OptionError("a network made ready for inference is not trained; train the one it was made from")
        super().train(False)
        return self


@torch.no_grad()
def optimize_for_inference(model: DeepSpeech2, weights: WeightFormat = "float32") -> InferenceNetwork:
    """Make a network ready for inference on the CPU.

    Every batch normalisation is folded into the convolution or projection before it, and recurrent weights are
    stored as asked. The result has its own weights, but for recurrent ones in float32; the model is left as it is.

    Args:
        model: A network whose running statistics are final.
        weights: Format of the recurrent weights. `bfloat16` and `int8` halve and quarter what one utterance at a
            time waits for; convolutions, projections, states and sums stay float32.

    Raises:
        OptionError: The format is not known.

    Example:
        >>> from deepspeech2 import build_model
        >>> network = optimize_for_inference(build_model("default", seed=0), weights="int8")
        >>> network(torch.zeros(1, 161, 99))[0].shape
        torch.Size([1, 33, 29])
    """
    check_format(weights)
    return InferenceNetwork(model, weights)


class _FixedProduct(nn.Module):
    """x W + b with weights that are not parameters."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().float())
        self.register_buffer("bias", bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return functional.linear(x, self.get_buffer("weight"), self.get_buffer("bias"))


class _FoldedConvolution(nn.Module):
    """A convolution layer in three steps: convolution with bias, clipping, zeros past the valid frames."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        assert isinstance(layer, ConvolutionLayer)
        weight, bias = fold(layer.convolution.weight, layer.norm)
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", bias.float())
        self.stride = layer.convolution.stride
        self.padding = tuple(int(size) for size in layer.convolution.padding)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Take (batch, channels, freq, time) to (batch, channels', freq', time')."""
        x = functional.conv2d(x, self.get_buffer("weight"), self.get_buffer("bias"), self.stride, self.padding)
        x = x.clamp_(0, ACTIVATION_LIMIT)
        return x if valid is None else x.masked_fill_(~valid[:, None, None, :], 0)


class _SharedLayer(nn.Module):
    def __init__(self, layer: SharedRecurrentLayer, weights: WeightFormat) -> None:
        super().__init__()
        self.projection = _folded_projection(layer.projection, layer.norm)
        self.states = _states(layer, weights)

    def forward(self, x: Tensor, frames: Tensor, valid: Tensor | None) -> Tensor:
        """Take (batch, time, features) to (batch, time, 2 * size), forward states first."""
        x = self.projection(x)
        return torch.cat(self.states(x, x, frames), dim=-1)


class _SeparateLayer(nn.Module):
    def __init__(self, layer: SeparateRecurrentLayer, weights: WeightFormat) -> None:
        super().__init__()
        self.forward_projection = _folded_projection(layer.forward_projection, layer.forward_norm)
        self.backward_projection = _folded_projection(layer.backward_projection, layer.backward_norm)
        self.states = _states(layer, weights)

    def forward(self, x: Tensor, frames: Tensor, valid: Tensor | None) -> Tensor:
        """Take (batch, time, features) to (batch, time, 2 * size), forward states first."""
        return torch.cat(self.states(self.forward_projection(x), self.backward_projection(x), frames), dim=-1)


class _SimpleStates(nn.Module):
    """Both directions of a simple recurrence, one after the other."""

    def __init__(self, directions: list[SimpleRecurrence], weights: WeightFormat) -> None:
        super().__init__()
        for name, recurrence in zip(DIRECTIONS, directions, strict=True):
            stored = store_weight(recurrence.weight, weights)
            self.register_buffer(f"{name}_weight", stored.values)
            self.register_buffer(f"{name}_scales", stored.scales)
            self.register_buffer(f"{name}_bias", recurrence.bias.detach().float())

    def forward(self, ahead: Tensor, back: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Take projected frames of each direction, (batch, time, size), to states of the same shape."""
        first, second = (
            simple_states(
                x,
                self.get_buffer(f"{name}_weight"),
                getattr(self, f"{name}_scales"),
                self.get_buffer(f"{name}_bias"),
                frames,
                name == "backward",
                ACTIVATION_LIMIT,
            )
            for name, x in zip(DIRECTIONS, (ahead, back), strict=True)
        )
        return first, second


class _GRUStates(nn.Module):
    """Both directions of a GRU."""

    def __init__(self, directions: list[GRURecurrence], weights: WeightFormat) -> None:
        super().__init__()
        for name, recurrence in zip(DIRECTIONS, directions, strict=True):
            for part in ("gate", "candidate"):
                stored = store_weight(getattr(recurrence, f"{part}_weight"), weights)
                self.register_buffer(f"{name}_{part}_weight", stored.values)
                self.register_buffer(f"{name}_{part}_scales", stored.scales)
            self.register_buffer(f"{name}_bias", recurrence.bias.detach().float())

    def forward(self, ahead: Tensor, back: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Take projected frames of each direction, (batch, time, 3 * size), to states (batch, time, size)."""
        parts = ("gate_weight", "gate_scales", "candidate_weight", "candidate_scales", "bias")
        gates, gate_scales, candidates, candidate_scales, biases = (
            [getattr(self, f"{name}_{part}") for name in DIRECTIONS] for part in parts
        )
        inputs = [ahead, back]
        return gru_states_of_both(inputs, gates, gate_scales, candidates, candidate_scales, biases, frames)


def _folded_projection(projection: Affine, norm: BatchNorm) -> _FixedProduct:
    return _FixedProduct(*fold(projection.weight, norm))


def _states(layer: SharedRecurrentLayer | SeparateRecurrentLayer, weights: WeightFormat) -> nn.Module:
    directions = [layer.forward_recurrence, layer.backward_recurrence]
    gated = [recurrence for recurrence in directions if isinstance(recurrence, GRURecurrence)]
    if gated:
        return _GRUStates(gated, weights)
    return _SimpleStates([recurrence for recurrence in directions if isinstance(recurrence, SimpleRecurrence)], weights)


def _layer(layer: nn.Module, weights: WeightFormat) -> nn.Module:
    if isinstance(layer, SharedRecurrentLayer):
        return _SharedLayer(layer, weights)
    assert isinstance(layer, SeparateRecurrentLayer)
    return _SeparateLayer(layer, weights)
