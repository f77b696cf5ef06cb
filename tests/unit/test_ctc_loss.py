"""CTC losses against summing over every alignment; norm_by_times scales gradients and nothing else."""

import itertools

import pytest
import torch

from deepspeech2.speech.ctc_loss import ctc_losses


def exhaustive(log_probs, labels):
    """Minus the log of the probability of all paths that collapse to `labels`."""
    blank, total = log_probs.shape[1] - 1, []
    for path in itertools.product(range(blank + 1), repeat=len(log_probs)):
        collapsed = [symbol for symbol, _ in itertools.groupby(path) if symbol != blank]
        if collapsed == labels:
            total.append(sum(log_probs[t, symbol] for t, symbol in enumerate(path)))
    return -torch.logsumexp(torch.stack(total), 0)


@pytest.mark.parametrize("padded", [True, False])
def test_losses_equal_the_sum_over_every_alignment(padded) -> None:
    log_probs = torch.randn(2, 5, 4, dtype=torch.float64).log_softmax(-1)
    labels = torch.tensor([[0, 0], [2, 9]]) if padded else torch.tensor([0, 0, 2])
    found = ctc_losses(log_probs, torch.tensor([5, 3]), labels, torch.tensor([2, 1]))
    expected = torch.stack([exhaustive(log_probs[0], [0, 0]), exhaustive(log_probs[1, :3], [2])])
    torch.testing.assert_close(found, expected)


def test_norm_by_times_divides_gradients_by_the_frames_and_keeps_the_losses() -> None:
    logits = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    results = []
    for norm_by_times in (False, True):
        losses = ctc_losses(
            logits.log_softmax(-1),
            torch.tensor([5, 3]),
            torch.tensor([0, 0, 2]),
            torch.tensor([2, 1]),
            norm_by_times=norm_by_times,
        )
        results.append((losses, torch.autograd.grad(losses.sum(), logits)[0]))
    (plain, gradient), (normed, scaled) = results
    assert torch.equal(plain, normed)
    torch.testing.assert_close(scaled, gradient / torch.tensor([5.0, 3.0], dtype=torch.float64)[:, None, None])


def test_labels_that_do_not_fit_cost_infinity() -> None:
    log_probs = torch.zeros(1, 2, 4).log_softmax(-1)
    found = ctc_losses(log_probs, torch.tensor([2]), torch.tensor([0, 0]), torch.tensor([2]), norm_by_times=True)
    assert found.tolist() == [float("inf")]


def test_more_frames_or_labels_than_there_are_is_an_error_of_torch() -> None:
    log_probs = torch.full((1, 2, 2), 0.5).log()  # of the four paths three write the label: the docstring's example
    frames, labels, lengths = torch.tensor([2]), torch.tensor([[0]]), torch.tensor([1])
    torch.testing.assert_close(ctc_losses(log_probs, frames, labels, lengths).exp(), torch.tensor([1 / 0.75]))
    for wrong in ((frames + 1, labels, lengths), (frames, labels, lengths + 1), (frames.repeat(2), labels, lengths)):
        with pytest.raises(RuntimeError):
            ctc_losses(log_probs, *wrong)
