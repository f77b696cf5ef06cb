"""The same mathematics in different spellings has the same count, kind by kind."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from deepspeech2 import count, count_training
from deepspeech2.flops.functions import find_function_rule

deterministic = settings(max_examples=6, deadline=None, derandomize=True)
two_or_more = st.integers(2, 7)

# One linear map of (rows, inner) by (inner, columns), the bias included.
WITH_BIAS = {
    "linear": lambda x, w, b: functional.linear(x, w.t(), b),
    "linear of transposed": lambda x, w, b: functional.linear(x.t().contiguous().t(), w.t(), b),
    "addmm": torch.addmm,
    "product and sum": lambda x, w, b: x @ w + b,
    "einsum and sum": lambda x, w, b: torch.einsum("ij,jk->ik", x, w) + b,
    "tensordot and sum": lambda x, w, b: torch.tensordot(x, w, 1) + b,
    "convolution of one tap": lambda x, w, b: functional.conv1d(x.t()[None], w.t()[..., None], b),
    "two-axis convolution of one tap": lambda x, w, b: functional.conv2d(
        x.t()[None, ..., None], w.t()[..., None, None], b
    ),
    "batched": lambda x, w, b: torch.baddbmm(b, x[None], w[None]),
    "vectors": lambda x, w, b: torch.stack([row @ w + b for row in x]),
    "vmap": lambda x, w, b: torch.func.vmap(lambda row: row @ w + b)(x),
    "in place": lambda x, w, b: torch.mm(x, w).add_(b),
}


@pytest.mark.parametrize("spelling", WITH_BIAS)
@deterministic
@given(rows=st.integers(1, 7), inner=st.integers(1, 7), columns=st.integers(1, 7))
@example(rows=3, inner=1, columns=4)
def test_a_linear_layer(spelling, rows, inner, columns) -> None:
    x, w, b = torch.empty(rows, inner), torch.empty(inner, columns), torch.empty(columns)
    program = WITH_BIAS[spelling]
    arguments = (b, x, w) if spelling == "addmm" else (x, w, b)
    tally = count(program, arguments, strict=True)
    products = rows * inner * columns
    assert tally.macs == products
    assert {kind: amount for kind, amount in tally.kinds.items() if amount} == {"multiply": products, "add": products}


EQUATIONS = [
    "ij,jk->ik",
    "bij,bjk->bik",
    "bij,bjk",
    "ij,kj,lk->il",
    "i,i->",
    "ij,j->i",
    "ijk,jl->il",
    "...ij,...jk->...ik",
    "b...i,ji->b...j",
    "bi,bj,oij->bo",
    "ij,kl->ijkl",
    "ab,bc,cd,de->ae",
    "ijk,ikl,il->kj",
]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(equation=st.sampled_from(EQUATIONS), sizes=st.lists(st.integers(1, 3), min_size=12, max_size=12), data=st.data())
def test_einsum_with_axes_of_one_element_is_what_torch_computes(equation, sizes, data) -> None:
    letters = sorted(set(equation) - set(",->."))
    size = dict(zip(letters, sizes, strict=False))
    tensors = []
    for term in equation.partition("->")[0].split(","):
        shape = []
        for letter in term.replace("...", "."):
            # Of one element in one operand, an axis is repeated.
            shape += [2, 3] if letter == "." else [data.draw(st.sampled_from([size[letter], size[letter], 1]))]
        tensors.append(torch.randn(shape, dtype=torch.float64))
    rule = find_function_rule(torch.einsum)
    found = rule(None, int, (equation, *tensors), {})
    torch.testing.assert_close(found, torch.einsum(equation, *tensors))


@pytest.mark.parametrize("training", [False, True])
def test_einsum_over_one_element_is_the_matrix_product_in_both_directions(training) -> None:
    class Product(nn.Module):
        def __init__(self, spelling) -> None:
            super().__init__()
            self.weight, self.spelling = nn.Parameter(torch.zeros(1, 4)), spelling

        def forward(self, x):
            return self.spelling(x, self.weight)

    x = torch.empty(3, 1, requires_grad=True)
    counts = []
    for spelling in (torch.mm, lambda a, b: torch.einsum("ij,jk->ik", a, b)):
        module = Product(spelling)
        tally = count_training(module, x, optimiser=None) if training else count(module, x)
        counts.append((tally.macs, tally.kinds))
    assert counts[0] == counts[1]
    assert counts[0][0] == 12 * (3 if training else 1)


def by_hand(q, k, v):
    scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(q.shape[-1]))
    return torch.softmax(scores, -1) @ v


def by_einsum(q, k, v):
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * (1 / math.sqrt(q.shape[-1]))
    return torch.einsum("bhqk,bhkv->bhqv", scores.softmax(-1), v)


def by_bmm(q, k, v):
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    return torch.bmm((torch.bmm(q, k.mT) * 0.5).softmax(-1), v)


def flexible(q, k, v):
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(q, k, v)


@pytest.mark.parametrize("spelling", [by_hand, by_einsum, by_bmm, flexible])
@deterministic
@given(queries=two_or_more, keys=two_or_more, size=two_or_more, values=two_or_more)
def test_attention(spelling, queries, keys, size, values) -> None:
    q, k, v = torch.empty(2, 3, queries, size), torch.empty(2, 3, keys, size), torch.empty(2, 3, keys, values)
    fused = count(functional.scaled_dot_product_attention, (q, k, v), strict=True)
    spelled = count(spelling, (q, k, v), strict=True)
    assert (spelled.macs, spelled.kinds) == (fused.macs, fused.kinds)


def looped(cell, x, kind):
    state = x.new_zeros(x.shape[1], cell.hidden_size)
    memory = torch.zeros_like(state)
    for step in x:
        if kind == "LSTM":
            state, memory = cell(step, (state, memory))
        else:
            state = cell(step, state)
    return state


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@deterministic
@given(batch=two_or_more, steps=st.integers(1, 4), inputs=two_or_more, size=two_or_more)
def test_a_recurrent_layer_is_a_loop_of_its_cell(kind, batch, steps, inputs, size) -> None:
    x = torch.empty(steps, batch, inputs)
    layer, cell = getattr(nn, kind)(inputs, size), getattr(nn, f"{kind}Cell")(inputs, size)
    whole = count(layer, x, strict=True)
    loop = count(lambda data: looped(cell, data, kind), x, strict=True)
    # Torch computes 1 - z in neither; both have the recurrent product of the first step, whose state is an argument.
    assert (loop.macs, loop.kinds) == (whole.macs, whole.kinds)


@deterministic
@given(batch=two_or_more, features=two_or_more, length=two_or_more)
def test_norms_of_one_group(batch, features, length) -> None:
    x = torch.empty(batch, features, length)
    layer = count(nn.LayerNorm([features, length], elementwise_affine=False), x, strict=True)
    group = count(nn.GroupNorm(1, features, affine=False), x, strict=True)
    assert layer.kinds == group.kinds
    instance = count(nn.InstanceNorm1d(features), x, strict=True)
    rows = count(lambda data: functional.layer_norm(data, (length,)), x, strict=True)
    assert instance.kinds == rows.kinds


@deterministic
@given(rows=two_or_more, length=two_or_more)
def test_softmax_and_cross_entropy(rows, length) -> None:
    x, labels = torch.empty(rows, length), torch.zeros(rows, dtype=torch.int64)
    whole = count(functional.cross_entropy, (x, labels), strict=True)
    parts = count(lambda a, t: functional.nll_loss(functional.log_softmax(a, -1), t), (x, labels), strict=True)
    assert whole.kinds == parts.kinds
    module = count(nn.Softmax(-1), x, strict=True)
    spelled = count(lambda a: torch.exp(a - a.amax(-1, keepdim=True)), x, strict=True)
    shares = count(lambda e: e / e.sum(-1, keepdim=True), x, strict=True)
    assert module.kinds == {kind: spelled.kinds[kind] + shares.kinds[kind] for kind in module.kinds}
