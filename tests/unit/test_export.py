"""Exported models give what the model gives: ONNX under ONNX Runtime, torch.export under torch."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from deepspeech2.errors import OptionError
from deepspeech2.speech.audio import load_audio
from deepspeech2.speech.build import build_model
from deepspeech2.speech.checkpoints import load_model
from deepspeech2.speech.features import Normalizer, spectrogram
from deepspeech2.speech.network import ACTIVATION_LIMIT
from deepspeech2.speech.onnx_export import build_onnx, export_onnx, export_program
from deepspeech2.speech.options import NetworkOptions, published_convolutions

ROOT = Path(__file__).parents[2]
KINDS = {
    "shared": NetworkOptions(recurrent_size=8),
    "separate": NetworkOptions(recurrent_size=8, shared=False, convolutions=published_convolutions(3)),
    "gru": NetworkOptions(recurrent_size=8, cell="gru", convolutions=published_convolutions(1)),
}
kinds = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
BATCHES = ([91, 40, 7, 1], [50], [33, 33])
RUNTIME = ["CPUExecutionProvider"]


def trained(options):
    """A model of which no part is the identity, and whose states reach the upper limit in places."""
    model = build_model(options, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in [*model.named_buffers(), *model.named_parameters()]:
            noise = torch.rand(value.shape, generator=generator)
            if name.endswith("running_var"):
                value.copy_(noise + 0.5)
            elif value.dim() == 1:
                value.add_(noise - 0.5)
            if "recurrence.bias" in name:
                value[0] += 30
    return model


def batch(frames):
    generator = torch.Generator().manual_seed(len(frames))
    features = torch.randn(len(frames), 161, max(frames) + 2, generator=generator)
    for row, count in enumerate(frames):
        features[row, :, count:] = float("nan")
    return features, torch.tensor(frames)


def test_the_page_reads_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both blocks, in their order, on a model of which no part is the identity."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    model = trained(KINDS["shared"])
    export_onnx(model, "model.onnx")
    export_program(model, "model.pt2")
    names: dict[str, Any] = {}
    found = []
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(), flags=re.DOTALL):
        exec(compile(block, "export.md", "exec"), names)
        found.append((np.asarray(names["log_probs"].tolist()), names["output_frames"].tolist()))
    features = load_model("small").normalizer(spectrogram(load_audio(ROOT / "examples/clip_10s.flac")))
    with torch.no_grad():
        log_probs, output_frames = model(torch.from_numpy(features)[None], torch.tensor([features.shape[1]]))
    assert [frames for _, frames in found] == [output_frames.tolist()] * 2
    for values, _ in found:
        np.testing.assert_allclose(np.exp(values), log_probs.exp(), atol=1e-4)


@torch.no_grad()
def largest_difference(model, run, frames) -> float:
    features, lengths = batch(frames)
    expected, output_frames = model(features, lengths)
    found, found_frames = run(features, lengths)
    assert found_frames.tolist() == output_frames.tolist()
    assert found.shape == expected.shape
    differences = [
        (found[row, :count].exp() - expected[row, :count].exp()).abs().max()
        for row, count in enumerate(output_frames.tolist())
    ]
    return max(differences).item()


@kinds
def test_onnx_runtime_gives_the_same_probabilities(options, tmp_path) -> None:
    model = trained(options)
    export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=RUNTIME)

    def run(features, frames):
        results = session.run(None, {"features": features.numpy(), "frames": frames.numpy()})
        return [torch.from_numpy(result) for result in results]

    for frames in BATCHES:
        assert largest_difference(model, run, frames) < 1e-5, frames


@kinds
def test_torch_export_gives_the_same_probabilities(options, tmp_path) -> None:
    model = trained(options).train()
    export_program(model, tmp_path / "model.pt2")
    assert all(module.training for module in model.modules())
    program = torch.export.load(tmp_path / "model.pt2").module()
    for frames in BATCHES:
        assert largest_difference(model.eval(), program, frames) < 1e-5, frames


def test_states_of_the_test_model_reach_the_limit() -> None:
    states = []
    model = trained(KINDS["shared"])
    model.recurrent[0].register_forward_hook(lambda *call: states.append(call[2]))
    model(*batch([91]))
    assert (states[0] == ACTIVATION_LIMIT).any()


@kinds
def test_graph_is_valid_and_uses_onnx_recurrences(options) -> None:
    model = build_onnx(trained(options))
    onnx.checker.check_model(model, full_check=True)
    kinds = [node.op_type for node in model.graph.node if node.op_type in ("RNN", "GRU", "LSTM", "Scan", "Loop")]
    assert kinds == ["GRU" if options.cell == "gru" else "RNN"] * 3


def test_labels_and_normalizer_travel_in_the_metadata() -> None:
    normalizer = Normalizer(np.arange(161, dtype=np.float32), np.ones(161, dtype=np.float32))
    model = trained(KINDS["shared"])
    model.normalizer = normalizer
    metadata = {entry.key: json.loads(entry.value) for entry in build_onnx(model).metadata_props}
    assert tuple(metadata["labels"]) == model.labels
    assert metadata["normalizer_mean"] == list(range(161))
    assert metadata["normalizer_std"] == [1] * 161


def test_a_model_without_weights_is_refused(tmp_path) -> None:
    for export in (export_onnx, export_program):
        with pytest.raises(OptionError, match="no weights"):
            export(build_model("default", device="meta"), tmp_path / "model")
    assert not list(tmp_path.iterdir())
