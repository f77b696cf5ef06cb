"""Functions counted whole cost under torch.func what they cost outside of it: what torch runs, of what is asked for."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, grad_and_value, jacfwd, jacrev, jvp, vjp, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention as attention
from torch.profiler import ProfilerActivity, profile

from deepspeech2 import count, count_training
from deepspeech2.errors import InputError

# torch's derivatives of dual numbers are TorchScript of its own.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

KINDS = (nn.LSTM, nn.GRU, nn.RNN)
OPTIONS = ({}, {"num_layers": 2}, {"bidirectional": True}, {"bias": False})
STEPS, BATCH, INPUTS, SIZE = 7, 2, 3, 5


def asked_for(function):
    """The gradient of the input alone, of a graph in which weights may need one too."""

    def program(x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(function(x).sum(), x)[0]

    return program


def pulled_back(function):
    def program(x):
        result, back = vjp(function, x)
        return back(result)

    return program


def products(program, *inputs):
    """Multiply-accumulates of the matrix products torch runs, by its own figure of two operations for each."""
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as executed:
        program(*inputs)
    names = ("aten::mm", "aten::addmm", "aten::bmm")
    run = [event for event in executed.events() if event.key in names]
    # A product of dual numbers is seen as one around those it is made of.
    return sum(event.flops for event in run if not any(child.key in names for child in event.cpu_children)) // 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("frozen", [True, False])
def test_the_gradient_of_a_recurrence_has_the_products_torch_runs(kind, options, frozen) -> None:
    """Of 64-bit numbers torch has no fused kernel and runs every product as an operator of its own."""
    layer = kind(INPUTS, SIZE, **options).double().requires_grad_(not frozen)
    x = torch.zeros(STEPS, BATCH, INPUTS, dtype=torch.float64)
    expected = products(asked_for(lambda x: layer(x)[0]), x)

    layer, x = layer.float(), x.float()
    plain = count(asked_for(lambda x: layer(x)[0]), x, strict=True)
    assert plain.macs == expected > 0
    for program in (grad, grad_and_value):
        assert count(program(lambda x: layer(x)[0].sum()), x, strict=True).kinds == plain.kinds
    # Beside the sum of a result, which is not taken here.
    pulled = count(pulled_back(lambda x: layer(x)[0]), x, strict=True)
    total = STEPS * BATCH * (2 if "bidirectional" in options else 1) * SIZE
    assert {**pulled.kinds, "add": pulled.kinds["add"] + total - 1} == plain.kinds


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_weights_alone(kind) -> None:
    layer, x = kind(INPUTS, SIZE), torch.zeros(STEPS, BATCH, INPUTS)
    found = count(
        lambda x: grad(lambda weights: functional_call(layer, weights, (x,))[0].sum())(dict(layer.named_parameters())),
        x,
        strict=True,
    )
    double, y = kind(INPUTS, SIZE).double(), x.double()
    assert found.macs == products(lambda: double(y)[0].sum().backward())


@pytest.mark.parametrize("kind", KINDS)
def test_a_jacobian_has_a_backward_pass_for_every_result(kind) -> None:
    layer, x = kind(INPUTS, SIZE), torch.zeros(STEPS, BATCH, INPUTS)
    forward = count(lambda x: layer(x)[0].sum((1, 2)), x).macs
    both = count(grad(lambda x: layer(x)[0].sum()), x).macs
    found = count(jacrev(lambda x: layer(x)[0].sum((1, 2))), x, strict=True)
    assert found.macs == forward + STEPS * (both - forward)


@pytest.mark.parametrize("function", [lambda layer, x: layer(x)[0], lambda _, x: attention(x, x, x, is_causal=True)])
def test_a_batch_of_gradients_has_a_backward_pass_for_each(function) -> None:
    layer, x = nn.LSTM(INPUTS, SIZE), torch.zeros(STEPS, BATCH, INPUTS)

    def result(x):
        return function(layer, x).sum((1, 2))

    def batched(x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(result(x), x, torch.eye(STEPS), is_grads_batched=True)[0]

    shapes = []
    found = count(lambda x: shapes.append(batched(x).shape), x, strict=True)
    assert found.macs == count(jacrev(result), x, strict=True).macs
    assert shapes == [(STEPS, *x.shape)]


def test_the_gradient_of_each_sample_costs_what_one_costs() -> None:
    layer, x = nn.LSTM(INPUTS, SIZE), torch.zeros(4, STEPS, BATCH, INPUTS)
    weights = dict(layer.named_parameters())

    def loss(weights, x):
        return functional_call(layer, weights, (x,))[0].sum()

    one = count(lambda x: grad(loss)(weights, x), x[0], strict=True)
    every = count(lambda x: vmap(grad(loss), in_dims=(None, 0))(weights, x), x, strict=True)
    assert every.kinds == {kind: 4 * amount for kind, amount in one.kinds.items()}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_recurrences_that_torch_does_not_map_are_refused() -> None:
    """A GRU writes to its state in place; without a gradient there is no rule for any of them."""
    x = torch.zeros(4, STEPS, BATCH, INPUTS)
    for program in (
        vmap(grad(lambda x: nn.GRU(INPUTS, SIZE)(x)[0].sum())),
        vmap(lambda x: nn.LSTM(INPUTS, SIZE)(x)[0]),
    ):
        with pytest.raises(RuntimeError):
            program(x)
        with pytest.raises(InputError):
            count(program, x)


def test_packed_sequences_count_at_their_true_lengths() -> None:
    """6 rows of 4 gates of 5: products of the input and the state, and of both again; of the state not at 2 starts."""
    layer = nn.LSTM(INPUTS, SIZE).requires_grad_(False)

    def loss(x):
        return layer(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4, 2])))[0].data.sum()

    rows, gates = 6, 4 * SIZE
    expected = rows * gates * (INPUTS + SIZE) * 2 - BATCH * gates * SIZE
    assert count(grad(loss), torch.zeros(4, BATCH, INPUTS), strict=True).macs == expected


def test_a_ctc_loss_costs_the_same() -> None:
    def loss(x):
        return functional.ctc_loss(x, torch.ones(2, 2, dtype=torch.int64), (5, 4), (2, 1))

    x = torch.zeros(5, 2, 4)
    assert count(grad(loss), x, strict=True).kinds == count(asked_for(loss), x, strict=True).kinds


class Penalty(nn.Module):
    """The squared norm of a gradient of torch.func, which training differentiates again."""

    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(INPUTS, SIZE)

    def forward(self, x):
        return (grad(lambda x: self.layer(x)[0].sum())(x) ** 2).sum()


def test_a_gradient_that_is_differentiated_again_is_what_torch_runs() -> None:
    x = torch.zeros(STEPS, BATCH, INPUTS)
    found = count_training(Penalty(), x, optimiser=None, strict=True)
    penalty = Penalty()
    assert found.macs == products(lambda: penalty(x).backward())

    def twice(x):
        return grad(lambda z: grad(lambda x: penalty.layer(x)[0].sum())(z).sum())(x)

    assert count(twice, x, strict=True).macs == products(twice, x)


QUERIES = 6
PAIRS = QUERIES * (QUERIES + 1) // 2


def causal_layer(**options):
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    mask = torch.full((QUERIES, QUERIES), float("-inf")).triu(1)
    return lambda x: layer(x, x, x, need_weights=False, attn_mask=mask, **options)[0]


@pytest.mark.parametrize("options", [{}, {"is_causal": True}])
def test_an_attention_layer_computes_pairs_its_mask_allows(options) -> None:
    """Four projections 4 wide, once forward and once for the input; attention has 2 products, and 5 in its gradient."""
    each = 2 * 4 * QUERIES * 4 * 4 + (2 + 5) * 4 * PAIRS
    layer = causal_layer(**options)
    x = torch.zeros(3, 2, QUERIES, 4)

    def loss(x):
        return layer(x).sum()

    for program, samples, given in (
        (asked_for(layer), 2, x[0]),
        (grad(loss), 2, x[0]),
        (grad_and_value(loss), 2, x[0]),
        (pulled_back(layer), 2, x[0]),
        (vmap(grad(loss)), 6, x),
        (grad(lambda x: vmap(layer)(x).sum()), 6, x),
    ):
        assert count(program, given, strict=True).macs == samples * each


def test_a_mask_for_each_sample_is_known_under_a_gradient() -> None:
    """Samples that see 6 and 3 keys, 2 heads 4 wide of 6 queries."""
    masks = (torch.arange(QUERIES) < torch.tensor([[QUERIES], [3]])).unsqueeze(1).expand(2, QUERIES, QUERIES)
    x = torch.zeros(2, 2, QUERIES, 4)
    expected = (2 + 5) * 4 * 2 * QUERIES * (6 + 3)
    each = vmap(grad(lambda x, mask: attention(x, x, x, mask).sum()))
    assert count(each, (x, masks.clone()), strict=True).macs == expected
    assert count(grad(lambda x, mask: attention(x, x, x, mask[:, None]).sum()), (x, masks.clone())).macs == expected


def test_a_gradient_of_a_mask_and_of_what_samples_share() -> None:
    """Queries for all, keys and values for each of 3 samples: 2 products, then 3 for the queries and 1 for a mask."""
    x, mask = torch.zeros(3, 5, 4), torch.zeros(6, 5)
    queries, product = torch.zeros(6, 4), 3 * 6 * 5 * 4
    shared = vmap(grad(lambda q, kv: attention(q, kv, kv).sum()), in_dims=(None, 0))
    assert count(shared, (queries, x), strict=True).macs == 5 * product
    masked = vmap(grad(lambda m, kv: attention(queries, kv, kv, m).sum()), in_dims=(None, 0))
    assert count(masked, (mask, x), strict=True).macs == 4 * product
    assert [tuple(each.shape) for each in (shared(queries, x), masked(mask, x))] == [(3, 6, 4), (3, 6, 5)]


def test_the_memory_of_a_gradient_is_that_of_the_plain_one() -> None:
    x = torch.zeros(2, 3, QUERIES, 4)
    plain = count(asked_for(lambda x: attention(x, x, x)), x).memory
    assert count(grad(lambda x: attention(x, x, x).sum()), x).memory.peak == plain.peak


def dual(function):
    def program(x):
        with forward_ad.dual_level():
            result = function(forward_ad.make_dual(x, torch.ones_like(x)))
            return tuple(forward_ad.unpack_dual(result))

    return program


CAUSAL = 2 * 4 * PAIRS
DERIVATIVES = {
    "of a dual number": (dual(lambda x: attention(x, x, x, is_causal=True)), 6),
    "in a direction": (lambda x: jvp(lambda x: attention(x, x, x, is_causal=True), (x,), (x,)), 6),
    "of queries": (lambda x: jvp(lambda q: attention(q, x, x, is_causal=True), (x,), (x,)), 4),
    "of values": (lambda x: jvp(lambda v: attention(x, x, v, is_causal=True), (x,), (x,)), 3),
    "of each sample": (vmap(lambda x: jvp(lambda x: attention(x, x, x, is_causal=True), (x,), (x,))), 6),
    "around samples": (lambda x: jvp(vmap(lambda x: attention(x, x, x, is_causal=True)), (x,), (x,)), 6),
    "of every number": (jacfwd(lambda x: attention(x, x, x, is_causal=True)), 2 + 4 * 2 * QUERIES * 4),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_the_derivative_of_attention_is_of_pairs_its_mask_allows(name) -> None:
    """Scores and mixing, and for each of q, k, v that has a direction a product more; of the probabilities another."""
    program, amount = DERIVATIVES[name]
    x = torch.zeros(2, QUERIES, 4)
    assert count(program, x, strict=True).macs == amount * CAUSAL


def test_an_attention_layer_of_dual_numbers() -> None:
    """Four projections, each of three products, one of them with zeros; six products over pairs, 2 heads 2 wide."""
    layer, x = causal_layer(), torch.zeros(2, QUERIES, 4)
    with sdpa_kernel(SDPBackend.MATH):
        found = count(lambda x: jvp(layer, (x,), (x,)), x, strict=True)
    assert found.macs == 3 * 4 * 2 * QUERIES * 4 * 4 + 6 * CAUSAL
    # The fused kernel has no derivative of this kind.
    for attempt in (lambda: jvp(layer, (x,), (x,)), lambda: count(lambda x: jvp(layer, (x,), (x,)), x)):
        with pytest.raises((NotImplementedError, InputError), match="forward AD"):
            attempt()


def test_a_derivative_that_is_differentiated_again_is_what_torch_runs() -> None:
    x = torch.zeros(2, QUERIES, 4)

    def derivative(x):
        return jvp(lambda x: attention(x, x, x, is_causal=True), (x,), (torch.ones_like(x),))[1].sum()

    assert count(grad(derivative), x, strict=True).macs == products(grad(derivative), x)
