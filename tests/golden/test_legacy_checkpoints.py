"""Both of Baidu's formats give the weights the original network was run with, and the architecture they belong to."""

from pathlib import Path

import pytest
import torch

from deepspeech2.speech.checkpoints import checkpoint_kind, load_model, save_model

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("file", "kind"), [("params.tar.gz", "Baidu v2"), ("params.pdparams", "Baidu fluid"), ("", "Baidu fluid")]
)
def test_weights_and_architecture(golden, file, kind) -> None:
    path = DATA / golden.name / file
    model = load_model(path)
    assert checkpoint_kind(path) == kind
    assert model.options == golden.options
    assert not model.training
    state, expected = model.state_dict(), golden.tensors("param/")
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(state[name], value), name
    log_probs, _ = model(golden.tensor("features"), golden.tensor("frames"))
    rows = [row[:frames] for row, frames in zip(log_probs, golden.tensor("output_frames").tolist(), strict=True)]
    torch.testing.assert_close(torch.cat(rows).exp(), golden.tensor("inference/probs"), rtol=0, atol=5e-6)


def test_own_format_keeps_everything(golden, tmp_path) -> None:
    model, path = load_model(DATA / golden.name / "params.tar.gz"), tmp_path / "model.safetensors"
    save_model(model, path)
    again = load_model(path)
    assert (again.options, again.labels) == (model.options, model.labels)
    expected = golden.tensors("param/")
    assert all(torch.equal(value, expected[name]) for name, value in again.state_dict().items())
    first = path.read_bytes()
    save_model(again, path)
    assert path.read_bytes() == first
