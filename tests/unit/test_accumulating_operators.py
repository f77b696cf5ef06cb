"""Operators that write are free; operators that accumulate are not."""

import pytest
import sympy
import torch
from torch import nn

from deepspeech2 import OperationCount, count, count_training, register_formula
from deepspeech2.errors import CountingError
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


def kinds_of(tally):
    return {kind: amount for kind, amount in tally.kinds.items() if amount}


@pytest.mark.parametrize("options", [{}, {"padding_idx": 3}, {"include_last_offset": True}])
@pytest.mark.parametrize("offsets", [[0, 0, 0, 0, 1, 3], [0, 1, 2, 3, 4], [0, 5, 5], [0, 0]])
def test_only_rows_beside_others_are_joined_in_a_bag(options, offsets) -> None:
    """Bags of no row cost nothing, those of n have n - 1 additions for each of 4 columns."""
    ids = [1, 3, 2, 3, 3]
    padding = options.get("padding_idx")
    ends = offsets[1:] if options.get("include_last_offset") else [*offsets[1:], len(ids)]
    bags = [[one for one in ids[start:end] if one != padding] for start, end in zip(offsets, ends, strict=False)]
    joined = 4 * sum(len(bag) - 1 for bag in bags if bag)
    filled = 4 * sum(1 for bag in bags if bag)
    expected = {"sum": {"add": joined}, "mean": {"add": joined, "divide": filled}, "max": {"compare": joined}}
    for mode, kinds in expected.items():
        bag = nn.EmbeddingBag(10, 4, mode=mode, **options)
        found = kinds_of(count(bag, (torch.tensor(ids), torch.tensor(offsets)), strict=True))
        assert found == {kind: amount for kind, amount in kinds.items() if amount}


def test_bags_of_unknown_offsets_never_count_negative() -> None:
    inputs = tuple(torch.empty(size, dtype=torch.int64, device="meta") for size in (3, 6))
    assert count(nn.EmbeddingBag(10, 4, mode="sum"), inputs).flops == 0
    formula = count(nn.EmbeddingBag(10, 4, mode="sum"), torch.ones(2, 3, dtype=torch.int64), symbolic={"batch": 0})
    assert formula.at(batch=5) == 5 * 2 * 4


@pytest.mark.parametrize("lengths", [[0, 0, 0, 0, 3, 0], [1, 2], [3]])
def test_empty_segments_cost_nothing(lengths) -> None:
    """Of 3 rows of 8."""
    rows = torch.empty(3, 8)
    joined, filled = 8 * sum(max(n - 1, 0) for n in lengths), 8 * sum(1 for n in lengths if n)
    for reduce, kinds in (
        ("sum", {"add": joined}),
        ("mean", {"add": joined, "divide": filled}),
        ("max", {"compare": joined}),
        ("prod", {"multiply": joined}),
    ):
        found = count(lambda x, r=reduce: torch.segment_reduce(x, r, lengths=torch.tensor(lengths)), rows, strict=True)
        assert kinds_of(found) == {kind: amount for kind, amount in kinds.items() if amount}
    given = count(lambda x: torch.segment_reduce(x, "sum", lengths=torch.tensor(lengths), initial=1), rows)
    assert given.kinds["add"] == 8 * sum(lengths)


@pytest.mark.parametrize(
    ("indices", "shape"),
    [
        (([0, 1, 1],), ()),
        (([0, 1, 1],), (3, 4)),
        (([0, 1, 1],), (1, 4)),
        (([[0], [2]], [1, 3, 3]), ()),
        (([True, False, True, True, False],), ()),
        ((None, [3, 3, 3]), (3,)),
    ],
)
def test_accumulating_adds_once_for_every_place_it_writes(indices, shape) -> None:
    """Ones that torch adds to zeros: their sum is the number of additions."""
    places = tuple(None if index is None else torch.tensor(index) for index in indices)
    program = lambda x, v: torch.ops.aten.index_put(x, places, v, True)  # noqa: E731
    written = int(program(torch.zeros(5, 4), torch.ones(shape)).sum())
    assert kinds_of(count(program, (torch.empty(5, 4), torch.empty(shape)), strict=True)) == {"add": written}


def test_accumulating_by_a_mask_of_unknown_values_is_unknown() -> None:
    tally = count(lambda x: x.index_put((x[:, 0] > 0,), torch.tensor(1.0), accumulate=True), torch.empty(5, 4))
    assert not tally.complete
    assert "mask" in next(one for one in tally.unknown if "index_put" in one.operator).reason


def test_a_source_larger_than_its_index_is_added_where_there_is_an_index() -> None:
    index, source = torch.zeros(2, 3, dtype=torch.int64), torch.ones(4, 5)
    added = int(torch.zeros(6, 7).scatter_add(0, index, source).sum())
    assert count(lambda x, s: x.scatter_add(0, index, s), (torch.empty(6, 7), source)).kinds["add"] == added == 6
    reduced = count(lambda x, s: x.scatter_reduce(0, index, s, "sum"), (torch.empty(6, 7), source))
    assert reduced.kinds["add"] == 6


@pytest.mark.parametrize("padding", [None, 3])
def test_rows_of_padding_have_no_gradient(padding) -> None:
    """A gradient of ones: torch's sum over the table is the number of additions."""
    ids = torch.tensor([[1, 2, 3, 3]])
    for build in (nn.Embedding, nn.EmbeddingBag):
        table = build(10, 4, padding_idx=padding, **({"mode": "sum"} if build is nn.EmbeddingBag else {}))
        table(ids).sum().backward()
        backward = count_training(table, ids, optimiser=None).phase("backward")
        assert kinds_of(backward) == {"add": int(table.weight.grad.sum())}
        assert backward.kinds["add"] == (16 if padding is None else 8)
        unread = count_training(table, ids.to("meta"), optimiser=None).phase("backward")
        assert kinds_of(unread) == {"add": 16}


def test_rows_scaled_by_how_often_their_id_occurs() -> None:
    """Per row one reciprocal of its count, and 4 products."""
    for table in (
        nn.Embedding(10, 4, scale_grad_by_freq=True),
        nn.EmbeddingBag(10, 4, mode="sum", scale_grad_by_freq=True),
    ):
        backward = count_training(table, torch.tensor([[1, 2, 3, 3]]), optimiser=None).phase("backward")
        assert kinds_of(backward) == {"divide": 4, "multiply": 16, "add": 16}


def test_a_formula_that_counts_below_zero_is_refused() -> None:
    name = "counting_tests::below_zero"
    operator = torch.library.custom_op(name, lambda x: x.clone(), mutates_args=(), schema="(Tensor x) -> Tensor")
    operator.register_fake(lambda x: x.clone())
    register_formula(name)(lambda call: OperationCount(multiply=1, add=call["x"].elements - 7))
    assert count(operator, torch.empty(9)).kinds["add"] == 2
    with pytest.raises(CountingError, match=f"{name}.*fewer than no operations of kind add"):
        count(operator, torch.empty(3))
