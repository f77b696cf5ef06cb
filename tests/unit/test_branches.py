"""torch.cond: where values decide, a lower bound in every kind, forward and backward."""

import pytest
import torch
from torch import nn

from deepspeech2 import count, count_training
from deepspeech2.flops.operations import KINDS, OperationCount, lower_bound


class Chooses(nn.Module):
    """A linear layer, then 8 x 8 products or six pointwise operations on (4, 8), as the sum of the first decides."""

    def __init__(self, *, tuples: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8, bias=False)
        self.second = nn.Linear(8, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return torch.cond(x.sum() > 0, self.second, lambda x: x.sin().cos().exp() * 2 + x + x, (x,))


def test_products_of_one_branch_are_not_counted_where_the_other_is_dearer_in_the_rest() -> None:
    """first: 4 * 8 * 8 macs. Branches: 256 multiply and 224 add, or 32 multiply, 64 add, 32 exp, 64 other."""
    tally = count(Chooses(), torch.empty(4, 8))
    assert tally.macs == 256
    # The sum of 32 and its comparison.
    assert tally.kinds == {
        **dict.fromkeys(KINDS, 0),
        "multiply": 256 + 32,
        "add": 224 + 31 + 64,
        "compare": 1,
    }
    assert [one.operator for one in tally.unknown] == ["cond"]
    assert "256 and 0 multiply-accumulates" in tally.unknown[0].reason


def test_both_branches_are_at_least_the_bound_in_training_too() -> None:
    """The products of `first` forward, of its input and of its weight; none of `second`."""
    x = torch.empty(4, 8, requires_grad=True)
    step = count_training(Chooses(), x, optimiser=None)
    assert step.phase("forward").macs == 256
    assert step.phase("backward").macs == 2 * 256
    module = Chooses()
    for branch in (module.second, lambda x: x.sin().cos().exp() * 2 + x + x):
        alone = count_training(nn.Sequential(module.first, _Apply(branch)), x, optimiser=None)
        for phase in ("forward", "backward"):
            least, exact = step.phase(phase), alone.phase(phase)
            decision = OperationCount(add=31, compare=1) if phase == "forward" else OperationCount()
            assert all(a <= b for a, b in zip(least, exact + decision, strict=True))


class _Apply(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def test_branches_that_cost_the_same_are_exact() -> None:
    module = Chooses()
    program = lambda x: torch.cond(x.sum() > 0, module.first, module.second, (x,))  # noqa: E731
    tally = count(program, torch.empty(4, 8))
    assert tally.complete
    assert tally.macs == 256


def test_a_weight_shared_with_what_comes_before_is_differentiated_once() -> None:
    class Shares(Chooses):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            return torch.cond(x.sum() > 0, self.first, self.second, (x,))

    step = count_training(Shares(), torch.empty(4, 8, requires_grad=True), optimiser=None)
    assert step.complete
    assert step.phase("backward").macs == 2 * 2 * 256


def test_a_bound_keeps_symbols() -> None:
    formula = count(Chooses(), torch.empty(4, 8), symbolic={"batch": 0})
    assert not formula.complete
    assert formula.at("mac", batch=1000) == 64 * 1000
    # first 64 + 56, the decision 8 (a sum of 8 * batch and a comparison), 8 multiply and 16 add of the branches.
    assert formula.at(batch=1000) == (64 + 56 + 8 + 8 + 16) * 1000


def test_values_of_one_branch_are_not_taken_for_the_result() -> None:
    def program(x: torch.Tensor) -> torch.Tensor:
        mask = torch.cond(x.sum() > 0, lambda: torch.tensor([True, True]), lambda: torch.tensor([False, True]), ())
        return x[mask]

    with pytest.raises(Exception, match="value"):
        count(program, torch.empty(2))


def test_the_smaller_number_of_each_kind() -> None:
    one = OperationCount(other=10, modelled=10, macs=3, multiply=3)
    other = OperationCount(compare=10, modelled=10, macs=5, multiply=5)
    assert lower_bound(one, other) == OperationCount(macs=3, multiply=3, modelled=3)


def test_results_of_a_bound_keep_their_types() -> None:
    def program(x):
        mixed = torch.cond(x.sum() > 0, lambda x: (x.argmax(1), x.exp()), lambda x: (x.argmin(1), x + x + x), (x,))
        return mixed[1][:, mixed[0]] if mixed[0].dtype == torch.int64 else None

    tally = count(program, torch.empty(4, 8))
    assert tally.layers[-1].output_shape == (4, 4)

    indices = count(
        lambda x: torch.cond(x.sum() > 0, lambda x: x.argmax(1), lambda x: x.exp().argmin(1), (x,)), torch.empty(4, 8)
    )
    # The sum and its comparison, and the comparisons both branches make.
    assert (indices.kinds["add"], indices.kinds["compare"]) == (31, 1 + 4 * 7)
