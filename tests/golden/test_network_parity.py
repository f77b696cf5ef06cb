"""The network equals the original, run by PaddlePaddle 1.8.5 on the same weights.

Both sides compute in float32. What differs is the order of the sums: the largest differences seen are 2e-6 on
probabilities, 4e-7 (relative) on losses, 1.3e-5 of a tensor's largest gradient, 2e-7 on running statistics.
"""

import pytest
import torch

from deepspeech2.speech.build import build_model
from deepspeech2.speech.ctc_loss import ctc_losses


@pytest.fixture
def model(golden):
    model = build_model(golden.options)
    model.load_state_dict(golden.tensors("param/"))
    return model


def run(model, golden):
    return model(golden.tensor("features"), golden.tensor("frames"))


def losses_of(golden, log_probs, output_frames):
    labels, lengths = golden.tensor("labels"), golden.tensor("label_lengths")
    return ctc_losses(log_probs, output_frames, labels, lengths, norm_by_times=True)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_probabilities_and_losses(model, golden, mode) -> None:
    model.train(mode == "training")
    log_probs, output_frames = run(model, golden)
    assert output_frames.tolist() == golden.tensor("output_frames").tolist()
    valid = torch.cat([log_probs[i, :frames] for i, frames in enumerate(output_frames.tolist())])
    torch.testing.assert_close(valid.exp(), golden.tensor(f"{mode}/probs"), rtol=0, atol=5e-6)
    expected = golden.tensor(f"{mode}/ctc").squeeze(1)
    torch.testing.assert_close(losses_of(golden, log_probs, output_frames), expected, rtol=1e-5, atol=0)
    assert expected.sum().item() == pytest.approx(golden.tensor(f"{mode}/loss").item(), rel=1e-6)


def test_gradients_with_norm_by_times(model, golden) -> None:
    model.train()
    losses_of(golden, *run(model, golden)).sum().backward()
    expected = golden.tensors("grad/")
    assert expected.keys() == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        # Relative to the tensor's largest: small entries are differences of large ones.
        worst = (parameter.grad - expected[name]).abs().max() / expected[name].abs().max()
        assert worst < 5e-5, f"{name}: {worst}"


def test_running_statistics_after_one_training_step(model, golden) -> None:
    model.train()
    run(model, golden)
    expected, found = golden.tensors("after/"), dict(model.named_buffers())
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
