"""Modules a function calls: each is a row of its own with its parameters, and keeps nothing of the count."""

import numpy as np
import pytest
import torch
from torch import nn

from deepspeech2 import count, count_training
from deepspeech2.errors import InputError


class Keeper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.last: torch.Tensor | None = None

    def forward(self, x):
        self.last = self.linear(x)
        return self.last


def rows(tally):
    return [(row.name, row.macs, row.parameters) for row in tally.rows()]


def test_two_layers_of_one_class_are_two_rows_with_their_parameters() -> None:
    first, second = nn.Linear(4, 5), nn.Linear(5, 3)
    tally = count(lambda x: second(first(x)), torch.zeros(2, 4))
    assert rows(tally) == [("Linear", 2 * 4 * 5, 4 * 5 + 5), ("Linear_2", 2 * 5 * 3, 5 * 3 + 3)]


def test_parts_of_a_module_have_their_paths_in_it() -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    for program, prefix in ((lambda x: module(x) * 1, "Sequential."), (module.forward, "")):
        tally = count(program, torch.zeros(2, 4))
        assert [row for row in rows(tally) if row[1]] == [(f"{prefix}0", 40, 25), (f"{prefix}2", 30, 18)]


def test_layers_made_anew_in_every_step_share_a_row() -> None:
    tally = count(lambda x: [nn.ReLU()(x) for _ in range(5)], torch.zeros(2, 4))
    assert [(row.name, row.flops) for row in tally.rows()] == [("ReLU", 5 * 2 * 4)]


@pytest.mark.parametrize("call", [lambda module: lambda x: module(x) * 1, lambda module: module.forward])
def test_what_a_module_stores_goes_when_a_function_or_a_method_is_counted(call) -> None:
    module = Keeper()
    count(call(module), torch.zeros(2, 4))
    assert module.last is None
    assert type(module(torch.zeros(2, 4))) is torch.Tensor


def test_the_row_of_an_optimiser_is_of_all_parameters_and_has_no_shape() -> None:
    (row,) = [row for row in count_training(nn.Linear(4, 4), torch.zeros(2, 4)).rows() if row.phase == "optimiser"]
    assert row.output_shape == ()


@pytest.mark.parametrize("wrap", [lambda arrays: (arrays,), lambda arrays: {"xs": {"a": arrays}}])
def test_arrays_inside_containers_are_refused(wrap) -> None:
    with pytest.raises(InputError, match="numpy ndarray; wrap it with torch"):
        count(lambda xs: xs, wrap([np.zeros((2, 3)), np.zeros((3, 2))]))
