"""The DeepSpeech2 that was published for PaddlePaddle, as a torch module.

Convolutions over the spectrogram, bidirectional recurrent layers, an affine output over the symbols and the blank.
Every formula is that of PaddlePaddle/DeepSpeech (`model_utils/network.py`) and of the Paddle layers it used, where
they differ from torch's: the clipped ReLU, the GRU, a biased running variance, and batch norm over valid frames.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

import deepspeech2.speech.operation_counts  # noqa: F401  (the counter learns this network's operators)
from deepspeech2.speech.network_inputs import check_network_inputs
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions, check_labels
from deepspeech2.speech.recurrence import gru_recurrence, simple_recurrence

if TYPE_CHECKING:
    from deepspeech2.speech.features import Normalizer

ACTIVATION_LIMIT = 24.0
"""Upper end of the clipped ReLU, min(max(x, 0), 24)."""


class AcousticNetwork(nn.Module):
    """Spectrogram frames in, log-probabilities of symbols out: how the layers follow each other.

    Attributes:
        options: The architecture.
        conv: The convolution layers.
        recurrent: The recurrent layers.
        output: The affine layer before the softmax.
    """

    # Which axes of the inputs, by position or by name, the counter may keep as symbols.
    symbolic_axes: ClassVar[dict[str, list[tuple[int | str, int]]]] = {
        "batch": [(0, 0), (1, 0), ("features", 0), ("frames", 0)],
        "time": [(0, 2), ("features", 2)],
    }

    options: NetworkOptions
    conv: nn.ModuleList
    recurrent: nn.ModuleList
    output: nn.Module

    def forward(self, features: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the log-probabilities of the symbols in every output frame.

        Args:
            features: Normalised spectrograms, (batch, 161, time). What lies past an utterance's frames is ignored.
            frames: Valid frames of each utterance, (batch,), int64; all of them when None. On the CPU or where the
                features are: the recurrences read them on the CPU.

        Returns:
            Log-probabilities, (batch, time', vocab + 1), the blank last, and the valid output frames of each
            utterance, (batch,). Frames past them hold no utterance's result.

        Raises:
            InputError: An argument is no tensor, a shape or a type does not fit, or `frames` is negative or exceeds the
                time axis (which is seen of real values on the CPU, not of what a traced program is given).
        """
        check_network_inputs(features, frames, self.options.frequencies, getattr(self.output, "weight", None))
        valid = None
        if frames is not None:
            features = features.masked_fill(~_valid(frames, features.shape[2], features)[:, None, :], 0)
        x = features.unsqueeze(3).permute(0, 3, 1, 2) if _has_layout(features) else features.unsqueeze(1)
        for layer, convolution in zip(self.conv, self.options.convolutions, strict=True):
            if frames is not None:
                frames = convolution.output_frames(frames)
                valid = _valid(frames, convolution.output_frames(x.shape[3]), x)
            x = layer(x, valid)
        if frames is None:
            frames = torch.full((x.shape[0],), x.shape[3], dtype=torch.int64, device=x.device)
        x = x.permute(0, 3, 1, 2).flatten(2)  # index of a value within the frame: channel * frequencies + frequency
        for layer in self.recurrent:
            x = layer(x, frames, valid)
        values = self.output(x)
        if values.dtype != x.dtype:
            values = values.to(x.dtype)  # a product in bfloat16
        return functional.log_softmax(values, dim=-1), frames


class DeepSpeech2(AcousticNetwork):
    """The acoustic model: spectrogram frames in, log-probabilities of symbols out.

    Args:
        options: The architecture.
        labels: The symbols, one for each output but the blank; None when they are not known.
        normalizer: The per-bin normalisation the model expects its features to have gone through. It is carried
            along, in checkpoints too, and not applied here.

    Attributes:
        options: As given.
        labels: As given.
        normalizer: As given.
        conv: The convolution layers.
        recurrent: The recurrent layers.
        output: The affine layer before the softmax.

    Raises:
        VocabularyError: The labels do not fit ``options.vocab_size``.

    Example:
        >>> from deepspeech2 import NetworkOptions
        >>> model = DeepSpeech2(NetworkOptions(vocab_size=3, recurrent_size=8)).eval()
        >>> log_probs, frames = model(torch.zeros(2, 161, 40), torch.tensor([40, 25]))
        >>> log_probs.shape, frames
        (torch.Size([2, 14, 4]), tensor([14,  9]))
    """

    output: Affine

    def __init__(
        self,
        options: NetworkOptions | None = None,
        *,
        labels: tuple[str, ...] | None = None,
        normalizer: Normalizer | None = None,
    ) -> None:
        super().__init__()
        options = options or NetworkOptions()
        check_labels(labels, options.vocab_size)
        self.options, self.labels, self.normalizer = options, labels, normalizer
        channels = [1, *(convolution.channels for convolution in options.convolutions)]
        self.conv = nn.ModuleList(map(ConvolutionLayer, channels, options.convolutions))
        layer = SharedRecurrentLayer if options.shared else SeparateRecurrentLayer
        sizes = [options.sequence_size, *[2 * options.recurrent_size] * (options.recurrent_layers - 1)]
        self.recurrent = nn.ModuleList(layer(size, options) for size in sizes)
        self.output = Affine(2 * options.recurrent_size, options.vocab_size + 1)


class Convolution(nn.Conv2d):
    """A convolution over (freq, time) with the published initial weights."""

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weight with deviation ``sqrt(2 / (11**2 * input channels))``, 11 being the extent over time."""
        _draw(self.weight, math.sqrt(2 / (self.kernel_size[1] ** 2 * self.in_channels)))


class Affine(nn.Linear):
    """A product with a weight, and a bias if there is one, with the published initial weights."""

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weight with deviation ``1 / sqrt(in_features)``; the bias is 0."""
        _draw(self.weight, self.in_features**-0.5)
        if self.bias is not None:
            self.bias.zero_()


class ConvolutionLayer(nn.Module):
    """Convolution without bias, batch norm, clipped ReLU, and zeros past the valid frames."""

    def __init__(self, in_channels: int, options: ConvolutionOptions) -> None:
        super().__init__()
        padding = (options.kernel[0] // 2, options.kernel[1] // 2)
        self.convolution = Convolution(
            in_channels, options.channels, options.kernel, stride=options.stride, padding=padding, bias=False
        )
        self.norm = ImageBatchNorm(options.channels)
        self.activation = nn.Hardtanh(0.0, ACTIVATION_LIMIT)

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Take (batch, channels, freq, time) to (batch, channels', freq', time'); `valid` is (batch, time')."""
        x = self.activation(self.norm(self.convolution(x)))
        # In place, since masked_fill would give its result another layout.
        return x if valid is None else x.masked_fill_(~valid[:, None, None, :], 0)


class SharedRecurrentLayer(nn.Module):
    """One projection and batch norm, from which a forward and a backward recurrence run."""

    def __init__(self, in_features: int, options: NetworkOptions) -> None:
        super().__init__()
        size = options.recurrent_size
        self.projection = Affine(in_features, size, bias=False)
        self.norm = SequenceBatchNorm(size)
        self.forward_recurrence = SimpleRecurrence(size, reverse=False)
        self.backward_recurrence = SimpleRecurrence(size, reverse=True)

    def forward(self, x: Tensor, frames: Tensor, valid: Tensor | None) -> Tensor:
        """Take (batch, time, features) to (batch, time, 2 * size), forward states first."""
        x = self.norm(self.projection(x), valid)
        return torch.cat([self.forward_recurrence(x, frames), self.backward_recurrence(x, frames)], dim=-1)


class SeparateRecurrentLayer(nn.Module):
    """A projection, batch norm and recurrence for each direction; every GRU layer is of this kind."""

    def __init__(self, in_features: int, options: NetworkOptions) -> None:
        super().__init__()
        size = options.recurrent_size
        recurrence, width = (GRURecurrence, 3 * size) if options.cell == "gru" else (SimpleRecurrence, size)
        self.forward_projection = Affine(in_features, width, bias=False)
        self.forward_norm = SequenceBatchNorm(width)
        self.forward_recurrence = recurrence(size, reverse=False)
        self.backward_projection = Affine(in_features, width, bias=False)
        self.backward_norm = SequenceBatchNorm(width)
        self.backward_recurrence = recurrence(size, reverse=True)

    def forward(self, x: Tensor, frames: Tensor, valid: Tensor | None) -> Tensor:
        """Take (batch, time, features) to (batch, time, 2 * size), forward states first."""
        ahead = self.forward_recurrence(self.forward_norm(self.forward_projection(x), valid), frames)
        back = self.backward_recurrence(self.backward_norm(self.backward_projection(x), valid), frames)
        return torch.cat([ahead, back], dim=-1)


class SimpleRecurrence(nn.Module):
    """One direction of ``h[t] = min(max(x[t] + bias + h[t-1] @ weight, 0), 24)``."""

    def __init__(self, size: int, *, reverse: bool) -> None:
        super().__init__()
        self.reverse = reverse
        self.weight = nn.Parameter(torch.empty(size, size))
        self.bias = nn.Parameter(torch.empty(size))
        self.reset_parameters()

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        """Take projected frames (batch, time, size) to states of the same shape."""
        return simple_recurrence(x, self.weight, self.bias, frames, self.reverse, ACTIVATION_LIMIT)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weight with deviation 1 / sqrt(size); the bias is 0."""
        _draw(self.weight, len(self.weight) ** -0.5)
        self.bias.zero_()


class GRURecurrence(nn.Module):
    """One direction of the published GRU: reset before the product, ReLU candidate. See `gru_recurrence`."""

    def __init__(self, size: int, *, reverse: bool) -> None:
        super().__init__()
        self.reverse = reverse
        self.gate_weight = nn.Parameter(torch.empty(size, 2 * size))
        self.candidate_weight = nn.Parameter(torch.empty(size, size))
        self.bias = nn.Parameter(torch.empty(3 * size))
        self.reset_parameters()

    def forward(self, x: Tensor, frames: Tensor) -> Tensor:
        """Take projected frames (batch, time, 3 * size) to states (batch, time, size)."""
        return gru_recurrence(x, self.gate_weight, self.candidate_weight, self.bias, frames, self.reverse)[0]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights with deviation 1 / sqrt(size); the bias is 0."""
        for weight in (self.gate_weight, self.candidate_weight):
            _draw(weight, len(weight) ** -0.5)
        self.bias.zero_()


class BatchNorm(nn.Module):
    """``weight * (x - mean) / sqrt(var + 1e-5) + bias``; running statistics are 0.9 old + 0.1 new, variance biased."""

    eps = 1e-5
    momentum = 0.1
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features))
        self.bias = nn.Parameter(torch.empty(features))
        self.register_buffer("running_mean", torch.empty(features))
        self.register_buffer("running_var", torch.empty(features))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start as the identity."""
        self.weight.fill_(1)
        self.bias.zero_()
        self.running_mean.zero_()
        self.running_var.fill_(1)

    def _normalize(self, x: Tensor) -> Tensor:
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )

    @torch.no_grad()
    def _update(self, mean: Tensor, biased_variance: Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(biased_variance, self.momentum)


class ImageBatchNorm(BatchNorm):
    """Batch norm of (batch, channels, freq, time) per channel; in training the padded area counts, as published."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, in training with the statistics of the batch."""
        if not self.training:
            return self._normalize(x)
        mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        # torch sums a channel ten times as accurately when its values lie together.
        y = functional.batch_norm(x.contiguous(), mean, variance, self.weight, self.bias, True, 1.0, self.eps)
        if _has_layout(y):
            y = y.contiguous(memory_format=torch.channels_last)
        values = x.shape[0] * x.shape[2] * x.shape[3]
        self._update(mean, variance * ((values - 1) / values))  # torch gives the unbiased variance
        return y


class SequenceBatchNorm(BatchNorm):
    """Batch norm of (batch, time, features) over the valid frames of all utterances."""

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Normalise, in training with the statistics of the frames where `valid`, (batch, time), is true."""
        if x.dtype != self.weight.dtype:
            x = x.to(self.weight.dtype)  # a product in bfloat16; the states that follow are not
        if not self.training:
            return self._normalize(x.flatten(0, 1)).view(x.shape)
        if valid is None:
            variance, mean = torch.var_mean(x, (0, 1), correction=0)
        else:
            weights = valid.unsqueeze(2).to(x.dtype)
            weights = weights / weights.sum()
            mean = (x * weights).sum((0, 1))
            variance = ((x - mean).square() * weights).sum((0, 1))
        self._update(mean, variance)
        scale = self.weight * (variance + self.eps).rsqrt()
        return x * scale + (self.bias - mean * scale)


def _draw(weight: Tensor, deviation: float) -> None:
    # On the meta device there is nothing to draw, and torch would import its compiler to find that out.
    if not weight.is_meta:
        weight.normal_(0, deviation)


def _has_layout(x: Tensor) -> bool:
    """Whether an image should be stored channels last: the channels' stride being 1.

    Convolutions of few channels are then two to four times as fast on processors without AVX-512. A program that is
    traced keeps the plain layout: the other one would make its strides depend on whether a size is 1.
    """
    return type(x) is Tensor


def _valid(frames: Tensor, time: int, x: Tensor) -> Tensor:
    mask = valid_mask(frames, time)
    return mask if x.device in (mask.device, torch.device("meta")) else mask.to(x.device)


def valid_mask(frames: Tensor, time: int) -> Tensor:
    """True where a frame is valid: (batch, time) from the number of valid frames of each utterance, (batch,)."""
    return torch.arange(time, device=frames.device) < frames[:, None]
