"""Gradients under torch.func, sizes drawn: products that torch runs outside of it, pairs that a mask allows."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import grad, jacrev, vmap
from torch.nn.functional import scaled_dot_product_attention as attention
from torch.profiler import ProfilerActivity, profile

from deepspeech2 import count

few = settings(max_examples=12, deadline=None, derandomize=True)
small = st.integers(1, 4)


def products(program):
    """Multiply-accumulates of the matrix products torch runs, by its own figure of two operations for each."""
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as executed:
        program()
    names = ("aten::mm", "aten::addmm", "aten::bmm")
    return sum(event.flops for event in executed.key_averages() if event.key in names) // 2


@few
@given(
    kind=st.sampled_from([nn.LSTM, nn.GRU, nn.RNN]),
    sizes=st.tuples(st.integers(1, 5), small, small, small),
    layers=st.integers(1, 3),
    bidirectional=st.booleans(),
    frozen=st.booleans(),
    of_state=st.booleans(),
)
def test_a_recurrence_has_the_products_torch_runs(kind, sizes, layers, bidirectional, frozen, of_state) -> None:
    """Of 64-bit numbers torch has no fused kernel and runs every product as an operator of its own."""
    steps, batch, inputs, size = sizes
    layer = kind(inputs, size, layers, bidirectional=bidirectional).requires_grad_(not frozen)
    x = torch.zeros(steps, batch, inputs)
    state = torch.zeros(layers * (2 if bidirectional else 1), batch, size)

    def loss(x, state):
        return layer(x, (state, state) if kind is nn.LSTM else state)[0].sum()

    found = count(grad(loss, argnums=(0, 1) if of_state else 0), (x, state), strict=True)
    layer.double()
    given = [x.double().requires_grad_(), state.double().requires_grad_(of_state)]
    asked = given if of_state else given[:1]
    assert found.macs == products(lambda: torch.autograd.grad(loss(*given), asked))


@few
@given(
    sizes=st.tuples(small, small, st.integers(1, 6), st.integers(1, 6)),
    widths=st.tuples(small, small),
    of=st.sets(st.integers(0, 2), min_size=1),
    data=st.data(),
)
def test_attention_has_products_of_the_pairs_its_mask_allows(sizes, widths, of, data) -> None:
    """Scores and mixing; for the gradient scores again, dV, dP for queries and keys, dQ and dK, whichever are asked."""
    samples, heads, queries, keys = sizes
    bits = data.draw(st.lists(st.booleans(), min_size=samples * queries * keys, max_size=samples * queries * keys))
    mask = torch.tensor(bits).reshape(samples, 1, queries, keys)
    each = [(heads, queries, widths[0]), (heads, keys, widths[0]), (heads, keys, widths[1])]
    tensors = [torch.zeros(samples, *shape) for shape in each]
    forward = widths[0] + widths[1]
    back = widths[0] + widths[1] * (2 in of) + widths[1] * bool(of & {0, 1}) + widths[0] * len(of & {0, 1})
    pairs = heads * sum(bits)

    def result(q, k, v, mask):
        return attention(q, k, v, mask)

    asked = tuple(sorted(of))
    whole = grad(lambda *given: result(*given).sum(), argnums=asked)
    for program in (
        whole,
        vmap(whole),
        grad(lambda *given: vmap(result)(*given).sum(), argnums=asked),
    ):
        assert count(program, (*tensors, mask), strict=True).macs == pairs * (forward + back)
    # A backward pass of everything for every column of the result.
    jacobian = jacrev(lambda *given: result(*given).sum((0, 1, 2)), argnums=asked)
    assert count(jacobian, (*tensors, mask), strict=True).macs == pairs * (forward + widths[1] * back)
