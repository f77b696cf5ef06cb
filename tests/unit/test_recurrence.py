"""Both recurrence operators against a plain loop over each utterance, differentiated by autograd."""

import pytest
import torch

from deepspeech2.errors import InputError
from deepspeech2.speech.recurrence import gru_recurrence, simple_recurrence

LENGTHS = [[5, 2, 0, 4], [5, 5, 5, 5], [1, 0, 1, 1], [0, 0, 0, 0]]
SIZE, TIME = 3, 5


def rows(lengths, reverse, step):
    """Run `step(frame, state)` along each utterance alone; zeros where it has no frame."""
    utterances = []
    for utterance, length in enumerate(lengths):
        state, states = None, [torch.zeros(SIZE, dtype=torch.float64)] * TIME
        for frame in reversed(range(length)) if reverse else range(length):
            state = states[frame] = step(utterance, frame, state)
        utterances.append(torch.stack(states))
    return torch.stack(utterances)


def plain_simple(x, weight, bias, lengths, reverse, limit):
    def step(utterance, frame, state):
        total = x[utterance, frame] + bias
        return (total if state is None else total + state @ weight).clamp(0, limit)

    return rows(lengths, reverse, step)


def plain_gru(x, gate_weight, candidate_weight, bias, lengths, reverse):
    def step(utterance, frame, state):
        total = x[utterance, frame] + bias
        h = torch.zeros(SIZE, dtype=x.dtype) if state is None else state
        z = torch.sigmoid(total[:SIZE] + h @ gate_weight[:, :SIZE])
        r = torch.sigmoid(total[SIZE : 2 * SIZE] + h @ gate_weight[:, SIZE:])
        c = torch.relu(total[2 * SIZE :] + (r * h) @ candidate_weight)
        return (1 - z) * h + z * c

    return rows(lengths, reverse, step)


def random(*shape, scale=1.0):
    generator = torch.Generator().manual_seed(sum(shape))
    return (scale * torch.randn(*shape, dtype=torch.float64, generator=generator)).requires_grad_()


def simple_case(lengths, reverse):
    tensors = (random(4, TIME, SIZE), random(SIZE, SIZE), random(SIZE))
    scalars = (torch.tensor(lengths), reverse, 1.5)
    return simple_recurrence, plain_simple, tensors, scalars


def gru_case(lengths, reverse):
    tensors = (random(4, TIME, 3 * SIZE, scale=2), random(SIZE, 2 * SIZE), random(SIZE, SIZE), random(3 * SIZE))

    def states(*arguments):
        return gru_recurrence(*arguments)[0]

    return states, plain_gru, tensors, (torch.tensor(lengths), reverse)


@pytest.mark.parametrize("case", [simple_case, gru_case])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_states_and_gradients_equal_a_loop_over_each_utterance(case, lengths, reverse) -> None:
    operator, plain, tensors, rest = case(lengths, reverse)
    found, expected = operator(*tensors, *rest), plain(*tensors, lengths, *rest[1:])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(found)
    for ours, theirs in zip(
        torch.autograd.grad(found, tensors, direction),
        torch.autograd.grad(expected, tensors, direction, materialize_grads=True)
        if expected.requires_grad
        else [torch.zeros_like(tensor) for tensor in tensors],
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", [simple_case, gru_case])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_equal_finite_differences(case, reverse) -> None:
    operator, _, tensors, rest = case(LENGTHS[0], reverse)
    assert torch.autograd.gradcheck(lambda *inputs: operator(*inputs, *rest), tensors)


@pytest.mark.parametrize("case", [simple_case, gru_case])
def test_operators_keep_the_contract_of_torch_library(case) -> None:
    _, _, tensors, rest = case(LENGTHS[0], True)
    operator = simple_recurrence if case is simple_case else gru_recurrence
    results = torch.library.opcheck(operator, (*tensors, *rest))
    assert set(results.values()) == {"SUCCESS"}


@pytest.mark.parametrize("lengths", [[6, 1, 1, 1], [-1, 1, 1, 1]])
def test_lengths_that_do_not_fit_are_named(lengths) -> None:
    operator, _, tensors, rest = simple_case(lengths, False)
    with pytest.raises(InputError, match=r"between 0 and 5 frames, found \[.*1, 1, 1\]"):
        operator(*tensors, *rest)
