"""What the package is compared with: torch's own recurrent layers of the same size, and ONNX Runtime.

torch's layers compute other functions (`torch.nn.RNN` without the clipping, `torch.nn.GRU` with the reset after the
product and a tanh, an LSTM altogether); what they share with ours is the size. ONNX Runtime runs the package's own
export, which is the same function.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepspeech2.speech.network import DeepSpeech2
from deepspeech2.speech.onnx_export import build_onnx

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "torch.nn.RNN": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "torch.nn.GRU": nn.GRU,
    "torch.nn.LSTM": nn.LSTM,
}


class TorchLayer(nn.Module):
    """A bidirectional layer of torch, its input projection inside."""

    def __init__(self, kind: str, inputs: int, size: int) -> None:
        super().__init__()
        self.layer = LAYERS[kind](inputs, size, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, frames: Tensor, valid: Tensor | None) -> Tensor:
        """(batch, time, inputs) to (batch, time, 2 * size); for utterances of one length."""
        return self.layer(x)[0]


def with_torch_layers(model: DeepSpeech2, kind: str) -> DeepSpeech2:
    """A copy whose recurrent layers are torch's, freshly initialised."""
    peer = copy.copy(model)
    peer._modules = dict(model._modules)
    size, layers = model.options.recurrent_size, model.options.recurrent_layers
    inputs = [model.options.sequence_size, *[2 * size] * (layers - 1)]
    peer.recurrent = nn.ModuleList(TorchLayer(kind, count, size) for count in inputs)
    return peer.eval()


def onnx_runtime(model: DeepSpeech2, threads: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The exported network in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    content = build_onnx(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(features: Tensor, frames: Tensor) -> Tensor:
        outputs = session.run(["log_probs"], {"features": features.numpy(), "frames": frames.numpy()})
        return torch.from_numpy(outputs[0])

    return run
