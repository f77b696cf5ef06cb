"""Gradients of bags of rows equal loops over what is in each bag, run on counting scalars."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, grad
from torch.nn import functional

from deepspeech2 import count, count_training
from deepspeech2.flops.operations import OperationCount

deterministic = settings(max_examples=30, deadline=None, derandomize=True)
ROWS, WIDTH, PADDING = 5, 3, 2


class Bags(nn.Module):
    """Bags of rows of a table, weighted or not."""

    def __init__(self, weighted: int, **options) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(ROWS, WIDTH, **options)
        self.weights = nn.Parameter(torch.ones(weighted)) if weighted else None

    def forward(self, ids, offsets):
        return self.bag(ids, offsets, per_sample_weights=self.weights)


def gradients(scalars, table, incoming, weights, *, bags, mode, trained):
    """Of the table: what each bag got, over its size or times a row's weight, joins its rows; of the weights: dots."""
    found = scalars.array(np.zeros((ROWS, WIDTH)))
    of_weights = [scalars.constant(0) for _ in weights]
    for bag, into in zip(bags, incoming, strict=True):
        rows = [(place, row) for place, row in bag if row != PADDING or mode[1] is None]
        if not rows:
            continue
        shares = [one / scalars.constant(len(rows)) for one in into] if mode[0] == "mean" else into
        for place, row in rows:
            if trained[1]:
                products = [(shares[column], table[row][column]) for column in range(WIDTH)]
                of_weights[place] = scalars.accumulate(None, products)
        if not trained[0]:
            continue
        for column in range(WIDTH):
            # Values rise with the row, and of rows that are equal the first is the largest one.
            chosen = [max(rows, key=lambda one: (one[1], -one[0]))] if mode[0] == "max" else rows
            for place, row in chosen:
                share = shares[column] * weights[place] if len(weights) else shares[column]
                found[row][column] = found[row][column] + share
    return found, np.asarray(of_weights, dtype=object)


@deterministic
@given(
    ids=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=7),
    cuts=st.lists(st.integers(0, 7), max_size=5),
    mode=st.tuples(st.sampled_from(["sum", "mean", "max"]), st.sampled_from([None, PADDING])),
    last=st.booleans(),
    weighted=st.booleans(),
    frozen=st.booleans(),
)
def test_the_gradient_of_bags_is_that_of_their_rows(ids, cuts, mode, last, weighted, frozen, scalar_run, same_count):
    weighted = weighted and mode[0] == "sum"
    starts = [0, *sorted(min(cut, len(ids)) for cut in cuts)]
    ends = [*starts[1:], len(ids)]
    bags = [[(place, ids[place]) for place in range(*pair)] for pair in zip(starts, ends, strict=True)]
    offsets = torch.tensor([*starts, len(ids)] if last else starts)
    module = Bags(len(ids) if weighted else 0, mode=mode[0], padding_idx=mode[1], include_last_offset=last)
    table = torch.arange(ROWS, dtype=torch.float32)[:, None] + torch.arange(WIDTH) / 7
    module.bag.weight = nn.Parameter(table, requires_grad=not (frozen and weighted))

    inputs = torch.tensor(ids), offsets
    trained = (module.bag.weight.requires_grad, weighted)
    values = (table, torch.ones(len(bags), WIDTH), torch.ones(len(ids) if weighted else 0))
    expected, (found, of_weights) = scalar_run(gradients, *values, bags=bags, mode=mode, trained=trained)
    step = count_training(module, inputs, optimiser=None, strict=True)
    backward = step.phase("backward")
    same_count(OperationCount(**backward.kinds, macs=backward.macs), expected)

    module(*inputs).sum().backward()
    if trained[0]:
        np.testing.assert_allclose(module.bag.weight.grad, found.astype(float), 1e-6)
    if weighted:
        np.testing.assert_allclose(module.weights.grad, of_weights.astype(float), 1e-6)

    # The same under torch.func, ids and offsets among the arguments; the sum and its gradient, a move, are beside it.
    named = {name: value for name, value in module.named_parameters() if value.requires_grad}
    program = grad(lambda named, ids, offsets: functional_call(module, named, (ids, offsets)).sum())
    both = count(program, (named, *inputs), strict=True)
    assert both.flops == step.phase("forward").total + backward.total + len(bags) * WIDTH - 1


def test_bags_of_unknown_ids_have_rows() -> None:
    ids, offsets = (torch.zeros(size, dtype=torch.int64, device="meta") for size in (4, 3))
    for mode, kinds in (("mean", {"add": 4 * WIDTH, "divide": 3 * WIDTH}), ("max", {"add": 3 * WIDTH})):
        backward = count_training(Bags(0, mode=mode), (ids, offsets), optimiser=None).phase("backward")
        assert {kind: amount for kind, amount in backward.kinds.items() if amount} == kinds


def test_offsets_that_a_program_computes_or_overwrites() -> None:
    """A bag of 3 and an empty one; of offsets that depend on a weight nothing is known."""

    class Computed(nn.Module):
        def __init__(self, spoiled):
            super().__init__()
            self.table, self.spoiled = nn.Parameter(torch.zeros(ROWS, WIDTH)), spoiled

        def forward(self, ids):
            offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor([2])]) + 1 - torch.tensor([1, 0])
            if self.spoiled:
                offsets[1] = self.table.sum().to(torch.int64)
            return functional.embedding_bag(ids, self.table, offsets, mode="max")

    for spoiled, filled in ((False, 1), (True, 2)):
        backward = count_training(Computed(spoiled), torch.tensor([0, 1, 1]), optimiser=None).phase("backward")
        assert backward.kinds["add"] == filled * WIDTH
