"""A module and the ONNX file torch exports of it count the same, kind by kind."""

import contextlib
import io
import warnings

import pytest
import torch
from torch import nn

from deepspeech2 import count, count_onnx
from deepspeech2.speech.build import build_model
from deepspeech2.speech.onnx_export import export_onnx
from deepspeech2.speech.options import NetworkOptions

CASES = {
    "linear": (nn.Linear(10, 3), (2, 5, 10)),
    "grouped-strided-convolution": (nn.Conv1d(4, 8, 3, stride=2, padding=1, groups=2), (2, 4, 20)),
    "transposed-convolution": (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), (2, 4, 5, 7)),
    "norms-and-activations": (
        nn.Sequential(nn.BatchNorm2d(4), nn.GELU(), nn.LayerNorm(5), nn.SiLU(), nn.LogSoftmax(-1)),
        (2, 4, 5, 5),
    ),
    "pooling": (nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(1)), (1, 2, 16, 16)),
    "gru": (nn.GRU(6, 8, 2, bidirectional=True), (7, 2, 6)),
    "lstm": (nn.LSTM(6, 8), (7, 2, 6)),
}


@pytest.mark.parametrize(("module", "shape"), CASES.values(), ids=CASES.keys())
def test_exported_module_counts_as_the_module(module, shape, tmp_path) -> None:
    module, inputs = module.eval(), (torch.randn(shape),)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(module, inputs, tmp_path / "module.onnx", dynamo=True, verbose=False)
    expected, found = count(module, inputs), count_onnx(tmp_path / "module.onnx", list(inputs))
    assert found.complete
    assert found.kinds == expected.kinds
    assert (found.macs, found.padding_macs) == (expected.macs, expected.padding_macs)
    assert found.parameters == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("cell", ["simple", "gru"])
def test_exported_network_counts_as_the_network_but_for_what_the_form_changes(cell, tmp_path) -> None:
    """ONNX's recurrences have a product and a sum per element at the first step too; nothing else is multiplied more.

    Separate directions: 2 per layer, 3 layers, `gates` * 8 * 8 products of the first step for each of 2 samples.
    """
    model = build_model(NetworkOptions(recurrent_size=8, cell=cell, shared=False), seed=0)
    inputs = (torch.empty(2, 161, 91, device="meta"), torch.tensor([91, 91]))
    export_onnx(model, tmp_path / "model.onnx")
    expected, found = count(model, inputs), count_onnx(tmp_path / "model.onnx", list(inputs))
    assert found.complete
    gates = 3 if cell == "gru" else 1
    assert found.macs - expected.macs == 2 * 3 * 2 * gates * 8 * 8
    assert found.padding_macs == expected.padding_macs
    assert found.kinds["exp"] - expected.kinds["exp"] == (2 * 3 * 2 * 8 if cell == "gru" else 0)
