"""Operators that write are free; operators that accumulate are not."""

import pytest
import sympy
import torch
from torch import nn

from deepspeech2 import count, count_training
from deepspeech2.flops.operators.reductions import _cumulative
from deepspeech2.flops.registry import Call, TensorSpec

INDEX = torch.tensor([[0, 1, 1], [2, 0, 0]])


def test_scatter_counts_what_its_reduction_computes() -> None:
    base, source = torch.empty(3, 3), torch.empty(2, 3)

    def kinds(**options):
        return count(lambda a, b: a.scatter(0, INDEX, b, **options), (base, source)).kinds

    assert sum(kinds().values()) == 0
    assert kinds(reduce="add")["add"] == 6
    assert kinds(reduce="multiply")["multiply"] == 6
    scalar = count(lambda a: a.scatter(0, INDEX, 2.0, reduce="multiply"), base)
    assert scalar.kinds["multiply"] == 6


def test_put_counts_where_it_accumulates() -> None:
    index = torch.tensor([0, 1, 1])
    base, source = torch.empty(3, 3), torch.empty(3)
    assert count(lambda a, b: a.put(index, b), (base, source)).flops == 0
    assert count(lambda a, b: a.put(index, b, accumulate=True), (base, source)).flops == 3


class Windows(nn.Module):
    """Overlapping windows."""

    def forward(self, x):
        return x.unfold(1, 3, 1)


def test_the_gradient_of_overlapping_windows_adds_them() -> None:
    step = count_training(Windows(), torch.empty(2, 7).requires_grad_(), optimiser=None)
    assert step.phase("forward").total == 0
    assert step.phase("backward").kinds["add"] == 2 * 5 * 3


def test_the_gradient_of_a_bag_reaches_every_row() -> None:
    for mode, adds, divisions in (("sum", 6 * 5, 0), ("mean", 6 * 5, 2 * 5), ("max", 2 * 5, 0)):
        bag = nn.EmbeddingBag(10, 5, mode=mode)
        step = count_training(bag, torch.tensor([[0, 1, 2], [3, 4, 4]]), optimiser=None).phase("backward")
        assert (step.kinds["add"], step.kinds["divide"]) == (adds, divisions)


def test_cumulative_sums_along_a_symbolic_axis_are_exact() -> None:
    time = sympy.Symbol("time", integer=True, positive=True)
    batch = sympy.Symbol("batch", integer=True, positive=True)
    tensor = TensorSpec((batch, 3, time), torch.float32)
    added = _cumulative(Call("aten::cumsum", {"self": tensor, "dim": -1}, (tensor,))).add
    assert sympy.expand(added - 3 * batch * (time - 1)) == 0
    assert count(lambda x: x.cumsum(1), torch.empty(2, 3, 7)).flops == 2 * 2 * 7


def test_distances_have_as_many_macs_on_either_path() -> None:
    points, others = torch.empty(40, 3), torch.empty(50, 3)
    for mode in ("use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"):
        tally = count(lambda a, b, m=mode: torch.cdist(a, b, compute_mode=m), (points, others))
        assert tally.macs == 40 * 50 * 3


class Padded(nn.Module):
    """Edges repeated."""

    def __init__(self, mode):
        super().__init__()
        self.mode = mode

    def forward(self, x):
        return nn.functional.pad(x, (1, 2, 1, 1), mode=self.mode)


def test_the_gradient_of_padding_adds_every_copy_where_it_came_from() -> None:
    for mode in ("reflect", "replicate"):
        step = count_training(Padded(mode), torch.empty(2, 3, 4, 5).requires_grad_(), optimiser=None)
        assert step.phase("forward").total == 0
        assert step.phase("backward").total == step.phase("backward").add == 2 * 3 * 6 * 8


def test_an_operator_in_place_counts_as_the_one_that_is_not() -> None:
    """A cumulative sum of 4 rows of 5 in place has 4 * 4 additions; it had as many comparisons."""
    for method, kind in [("cumsum", "add"), ("cumprod", "multiply")]:
        for name in (method, method + "_"):
            tally = count(lambda x, name=name: getattr(x, name)(1), torch.empty(4, 5), strict=True)
            assert {key: amount for key, amount in tally.kinds.items() if amount} == {kind: 16}


@pytest.mark.parametrize(
    ("program", "shape", "kinds"),
    [
        (lambda x, out: torch.amax(x, (0, 1), out=out), (), {"compare": 19}),
        (lambda x, out: torch.max(x, 1, out=(out, torch.empty(4, dtype=torch.int64))), (4,), {"compare": 16}),
        (lambda x, out: torch.softmax(x, 1, out=out), (4, 5), {"compare": 16, "add": 36, "exp": 20, "divide": 20}),
        (lambda x, out: torch.mm(x, x.t(), out=out), (4, 4), {"multiply": 80, "add": 64}),
    ],
)
def test_where_a_result_goes_is_no_operand(program, shape, kinds) -> None:
    """Largest of 20, or of 4 rows of 5; a softmax of 4 rows; dot products of 5 for 16 pairs."""
    tally = count(program, (torch.empty(4, 5), torch.empty(shape)), strict=True)
    assert {kind: amount for kind, amount in tally.kinds.items() if amount} == kinds
    assert tally.bytes_read <= 4 * 20 * 2
