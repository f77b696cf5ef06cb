"""An LSTM network after the deepspeech.pytorch project: the yardstick beside this package's own network.

Written from a knowledge of that project's architecture, not from its code. What it shares with it: two convolutions of
32 channels (41 x 11 with stride 2 x 2, 21 x 11 with stride 2 x 1) with batch norm and a ReLU clipped at 20, frames past
an utterance's end set to zero after each of them; bidirectional LSTM layers whose directions are added, batch norm
(padding included) before every layer but the first; batch norm and a product without bias at the end; log1p of the
magnitudes, normalised within each utterance. Only the size of the LSTM is smaller: it is chosen to give a wanted number
of parameters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn

from deepspeech2.speech.network import valid_mask
from deepspeech2.speech.options import ENGLISH_LABELS, ConvolutionOptions, NetworkOptions
from deepspeech2.speech.recognizer import Recognizer

CLIP = 20.0
# |X| of one sample's worth of density: the spectrogram holds |X|**2 * 2 / (sum(w**2) * 16000).
_MAGNITUDE = float(np.sqrt(np.sum(np.hanning(320) ** 2) * 16_000 / 2))


@dataclass(frozen=True)
class BaselineOptions:
    """Size of the network.

    Attributes:
        vocab_size: Output symbols without the blank.
        recurrent_size: State of one direction of an LSTM.
        recurrent_layers: LSTM layers.
        frequencies: Bins of a feature frame.
        convolutions: The two convolutions.
        features: ``log1p`` of magnitudes, as that project has them, or the ``log`` spectrogram of this one.
    """

    vocab_size: int = len(ENGLISH_LABELS)
    recurrent_size: int = 1024
    recurrent_layers: int = 5
    frequencies: int = 161
    convolutions: tuple[ConvolutionOptions, ...] = field(
        default_factory=lambda: (ConvolutionOptions(32, (41, 11), (2, 2)), ConvolutionOptions(32, (21, 11), (2, 1)))
    )
    features: Literal["log1p", "log"] = "log1p"


class UtteranceNormalizer:
    """Brings a log power spectrogram, or log1p of its magnitudes, to mean 0 and deviation 1 over the utterance."""

    def __init__(self, features: Literal["log1p", "log"] = "log1p") -> None:
        self._features = features

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalise one spectrogram, (161, frames)."""
        values = features.astype(np.float64)
        if self._features == "log1p":
            values = np.log1p(np.exp(0.5 * values) * _MAGNITUDE)
        return ((values - values.mean()) / max(values.std(), 1e-8)).astype(np.float32)


class Baseline(nn.Module):
    """Spectrogram frames in, log-probabilities of symbols out; takes the place of `DeepSpeech2` in a `Trainer`."""

    def __init__(self, options: BaselineOptions, labels: tuple[str, ...] = ENGLISH_LABELS) -> None:
        super().__init__()
        self.options, self.labels = options, labels
        # The trainer writes a model's own normaliser into its checkpoints; this one has nothing to write.
        self.normalizer: UtteranceNormalizer | None = None
        channels = [1, *(convolution.channels for convolution in options.convolutions)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inside, o.channels, o.kernel, o.stride, (o.kernel[0] // 2, o.kernel[1] // 2))
            for inside, o in zip(channels, options.convolutions, strict=False)
        )
        self.image_norms = nn.ModuleList(nn.BatchNorm2d(o.channels) for o in options.convolutions)
        size = options.recurrent_size
        # The sequence a frame becomes has the same size as behind this package's own convolutions.
        sequence = NetworkOptions(convolutions=options.convolutions, frequencies=options.frequencies).sequence_size
        widths = [sequence, *[size] * (options.recurrent_layers - 1)]
        self.recurrent = nn.ModuleList(nn.LSTM(width, size, bidirectional=True) for width in widths)
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for _ in widths)  # between the layers, and before the output
        self.output = nn.Linear(size, options.vocab_size + 1, bias=False)

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Take (batch, 161, time) to log-probabilities (batch, time', vocab + 1) and valid frames, as `DeepSpeech2`."""
        x = features.unsqueeze(1)
        for convolution, norm, options in zip(
            self.convolutions, self.image_norms, self.options.convolutions, strict=True
        ):
            frames = options.output_frames(frames)
            past = ~valid_mask(frames, options.output_frames(x.shape[3]))[:, None, None, :]
            # Without AVX-512 convolutions are faster with the channels last; norms sum more accurately otherwise.
            x = convolution(x.contiguous(memory_format=torch.channels_last)).contiguous()
            x = norm(x.masked_fill(past, 0)).masked_fill(past, 0)
            x = nn.functional.hardtanh(x, 0.0, CLIP)
        valid = valid_mask(frames, x.shape[3]).T.unsqueeze(2)
        backwards = reversed_frames(frames, x.shape[3])
        x = x.permute(3, 0, 1, 2).flatten(2)
        for layer, norm in zip(self.recurrent, self.norms, strict=True):
            x = sum_of_directions(layer, x, backwards, valid)
            x = norm(x.flatten(0, 1)).view(x.shape)
        return nn.functional.log_softmax(self.output(x), -1).transpose(0, 1), frames

    def parameter_count(self) -> int:
        """Trainable parameters."""
        return sum(weight.numel() for weight in self.parameters())

    def macs(self, frames: int) -> int:
        """Multiplications of the products in one utterance of so many frames, convolutions' padding included."""
        time, bins, total = frames, self.options.frequencies, 0
        for layer, options in zip(self.convolutions, self.options.convolutions, strict=True):
            time, bins = options.output_frames(time), (bins - 1) // options.stride[0] + 1
            total += layer.weight.numel() * time * bins
        matrices = [weight for lstm in self.recurrent for weight in lstm.parameters() if weight.dim() == 2]
        return total + time * sum(weight.numel() for weight in [*matrices, self.output.weight])


def reversed_frames(frames: Tensor, time: int) -> Tensor:
    """Indices (time, batch, 1) that turn each utterance around and leave its padding where it is; their own inverse."""
    step = torch.arange(time, device=frames.device)[:, None]
    return torch.where(step < frames, frames - 1 - step, step).unsqueeze(2)


def sum_of_directions(layer: nn.LSTM, x: Tensor, backwards: Tensor, valid: Tensor) -> Tensor:
    """What the bidirectional layer gives a packed sequence, directions added and padding zero.

    Each direction runs on padded tensors, whose valid frames come first: torch's recurrence of a packed sequence of
    unequal lengths is a loop over the frames, 2.4 times as slow on a CPU as the whole of this.

    Args:
        layer: One bidirectional layer, (time, batch, features).
        x: (time, batch, features).
        backwards: From `reversed_frames`.
        valid: (time, batch, 1), true where there is an utterance.
    """
    weights = [getattr(layer, name) for name in layer._flat_weights_names]
    half, state = len(weights) // 2, x.new_zeros(1, x.shape[1], layer.hidden_size)

    def run(sequence: Tensor, direction: list[Tensor]) -> Tensor:
        return torch.lstm(sequence, (state, state), direction, True, 1, 0.0, layer.training, False, False)[0]

    forward = run(x, weights[:half])
    turned = run(x.gather(0, backwards.expand_as(x)), weights[half:])
    return (forward + turned.gather(0, backwards.expand_as(turned))) * valid


class BaselineRecognizer(Recognizer):
    """A `Recognizer` that runs this network as it is."""

    def _made_ready(self, model: Baseline, weights: str) -> Baseline:
        return model


def build_baseline(
    parameters: int, *, channels: int = 32, seed: int = 0, features: Literal["log1p", "log"] = "log1p"
) -> Baseline:
    """The network with the largest LSTM that so many parameters allow, freshly initialised as torch does.

    Args:
        parameters: Trainable parameters in all, at most.
        channels: Of the convolutions, 32 in that project.
        seed: Where the random numbers start.
        features: What it is trained on; see `BaselineOptions`.
    """

    def sized(size: int) -> BaselineOptions:
        convolutions = tuple(replace(item, channels=channels) for item in BaselineOptions().convolutions)
        return BaselineOptions(recurrent_size=size, convolutions=convolutions, features=features)

    size = 16
    with torch.device("meta"):
        while Baseline(sized(size + 1)).parameter_count() <= parameters:
            size += 1
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return Baseline(sized(size))


def load_baseline(path: Path) -> Baseline:
    """Read a checkpoint a `Trainer` wrote of this network; in evaluation mode, with its normaliser."""
    with safe_open(str(path), "pt") as file:
        found = json.loads(file.metadata()["deepspeech2"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    model = Baseline(msgspec.convert(found["options"], BaselineOptions), tuple(found["labels"]))
    state = model.state_dict()
    # Checkpoints hold floating-point values only; torch's batch norm counts its updates in an integer.
    model.load_state_dict({name: tensors[name].to(value.dtype) for name, value in state.items()})
    model.normalizer = UtteranceNormalizer(model.options.features)
    return model.eval()
