"""Optimisers in a training step: by name, as torch.optim has them, and those that can only be run."""

import pytest
import torch
from torch import nn

from deepspeech2 import count_training
from deepspeech2.errors import OptionError

X = torch.empty(2, 10)
VALUES = 33


def step_of(module, optimiser, **options):
    return count_training(module, X, optimiser=optimiser, strict=True, **options).phase("optimiser")


def test_an_optimiser_of_torch_brings_its_options() -> None:
    layer = nn.Linear(10, 3)
    plain = torch.optim.SGD(layer.parameters(), 0.1)
    decayed = torch.optim.SGD(layer.parameters(), 0.1, weight_decay=0.1)
    assert step_of(layer, plain) == step_of(layer, "sgd")
    assert step_of(layer, decayed).kinds["multiply"] == 2 * VALUES
    assert step_of(layer, torch.optim.AdamW(layer.parameters())) == step_of(layer, "adamw")
    assert step_of(layer, torch.optim.AdamW(layer.parameters(), weight_decay=0.0)) == step_of(layer, "adam")


def test_each_group_has_its_own_options_and_what_is_in_none_stays() -> None:
    layer = nn.Linear(10, 3)
    groups = [{"params": [layer.weight], "weight_decay": 0.1}]
    one = torch.optim.SGD(groups, 0.1)
    both = torch.optim.SGD([*groups, {"params": [layer.bias], "weight_decay": 0.0}], 0.1)
    assert step_of(layer, one).total == 4 * 30
    assert step_of(layer, both).total == 4 * 30 + 2 * 3


def test_any_other_optimiser_is_run_and_left_as_it_was() -> None:
    layer = nn.Linear(10, 3)
    optimiser = torch.optim.RMSprop(layer.parameters())
    before = [parameter.detach().clone() for parameter in layer.parameters()]
    kinds = step_of(layer, optimiser).kinds
    # v = a v + (1 - a) g g; p = p - lr g / (sqrt(v) + epsilon); and a counter of steps for each tensor.
    assert kinds["multiply"] == 4 * VALUES
    assert kinds["sqrt"] == kinds["divide"] == VALUES
    assert kinds["add"] == 3 * VALUES + 2
    assert not optimiser.state
    assert all(torch.equal(a, b) for a, b in zip(before, layer.parameters(), strict=True))
    assert optimiser.param_groups[0]["params"][0] is layer.weight


def test_clipping_joins_the_step() -> None:
    layer = nn.Linear(10, 3)
    clipped = step_of(layer, "sgd", clip_gradients=True)
    assert clipped.total - step_of(layer, "sgd").total == 2 * VALUES + 2 + VALUES - 2 + 1 + 1 + 3 + 1 + 1


def test_strangers_are_refused() -> None:
    layer = nn.Linear(10, 3)
    with pytest.raises(OptionError, match="other parameters"):
        step_of(layer, torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1))
    with pytest.raises(OptionError, match="LBFGS"):
        step_of(layer, torch.optim.LBFGS(layer.parameters()))
    with pytest.raises(OptionError, match="found int"):
        step_of(layer, 3)


def test_a_sparse_gradient_is_said_to_be_unknown() -> None:
    tally = count_training(nn.Embedding(10, 4, sparse=True), torch.tensor([1, 2, 0]), optimiser="sgd")
    assert not tally.complete
    assert "sparse" in tally.unknown[0].reason


def test_frozen_and_first_layers_pay_no_gradient_of_their_input() -> None:
    x = torch.empty(5, 2, 4)
    rows, gates, size = 10, 3 * 6, 6
    for needs in (False, True):
        layer = nn.GRU(4, 6)
        step = count_training(layer, x.clone().requires_grad_(needs), optimiser=None)
        of_weights = rows * gates * (4 + size)
        of_states = (rows - 2) * gates * size
        assert step.phase("backward").macs == of_weights + of_states + (rows * gates * 4 if needs else 0)
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    step = count_training(layer, x.requires_grad_(), optimiser=None)
    assert step.phase("backward").macs == (rows - 2) * gates * size + rows * gates * 4


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("clip", [False, True])
def test_a_complex_parameter_is_two_real_ones(name, clip) -> None:
    def stepped(layer, x):
        tally = count_training(layer, x, loss=lambda y: y.abs().sum(), optimiser=name, clip_gradients=clip, strict=True)
        return tally.phase("optimiser").kinds

    twenty = nn.Linear(4, 5, bias=False, dtype=torch.complex64)
    forty = nn.Linear(8, 5, bias=False)
    assert stepped(twenty, torch.empty(3, 4, dtype=torch.complex64)) == stepped(forty, torch.empty(3, 8))
