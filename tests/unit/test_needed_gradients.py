"""The backward pass computes the gradients that are asked for, and no others; what is not known is said."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from deepspeech2 import count, count_training
from deepspeech2.errors import UncountedOperatorError

# torch warns of its own of TorchScript.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROWS, SIZE = 3, 8
ELEMENTS = ROWS * SIZE
NORMS = (lambda: nn.LayerNorm(SIZE), lambda: nn.GroupNorm(2, SIZE), lambda: nn.BatchNorm1d(SIZE))


def backward_of(module, inputs):
    return count_training(module, inputs, optimiser=None).phase("backward")


def kinds_of(count):
    return {kind: amount for kind, amount in count.kinds.items() if amount}


@pytest.mark.parametrize(
    "build", [lambda: nn.LayerNorm(SIZE), lambda: nn.GroupNorm(2, SIZE), lambda: nn.BatchNorm1d(SIZE)]
)
def test_a_norm_whose_input_needs_no_gradient_has_those_of_its_scale_and_shift(build) -> None:
    """(x - mean) * r, times the gradient, summed over rows; and the gradient summed over rows: 104 operations."""
    sums = ELEMENTS - SIZE
    expected = {"add": ELEMENTS + 2 * sums, "multiply": 2 * ELEMENTS}
    assert sum(expected.values()) == 104
    assert kinds_of(backward_of(build(), torch.zeros(ROWS, SIZE))) == expected


@pytest.mark.parametrize(
    ("build", "groups"),
    list(zip(NORMS, (3, 6, 8), strict=True)),
)
def test_a_frozen_norm_has_the_gradient_of_its_input_only(build, groups) -> None:
    """y, g = grad * scale, a = sum(g) / n, b = sum(g y) / n, (g - a - y b) r, as loops would."""
    norm = build().requires_grad_(False)
    additions = ELEMENTS + 2 * (ELEMENTS - groups) + 2 * ELEMENTS
    expected = {"add": additions, "multiply": (1 + 1 + 1 + 2) * ELEMENTS, "divide": 2 * groups}
    assert kinds_of(backward_of(norm, torch.zeros(ROWS, SIZE, requires_grad=True))) == expected
    whole = backward_of(build(), torch.zeros(ROWS, SIZE, requires_grad=True))
    both = {"add": additions + 2 * (ELEMENTS - SIZE), "multiply": 6 * ELEMENTS, "divide": 2 * groups}
    assert kinds_of(whole) == both


def test_a_norm_with_stored_statistics_computes_what_is_asked_for() -> None:
    """r = 1 / sqrt(v + e) per channel, once; grad * (gamma * r); sum(grad) and sum(grad * ((x - mean) * r))."""

    class Stored(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(SIZE)

        def forward(self, x):
            norm = self.norm
            return functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    roots = {"sqrt": SIZE, "divide": SIZE}
    affine = backward_of(Stored(), torch.zeros(ROWS, SIZE))
    assert kinds_of(affine) == {
        **roots,
        "add": SIZE + ELEMENTS + 2 * (ELEMENTS - SIZE),
        "multiply": 2 * ELEMENTS,
    }
    frozen = backward_of(Stored().requires_grad_(False), torch.zeros(ROWS, SIZE, requires_grad=True))
    assert kinds_of(frozen) == {**roots, "add": SIZE, "multiply": SIZE + ELEMENTS}


class Cross(nn.Module):
    """Queries of one sequence, keys and values of another."""

    def __init__(self):
        super().__init__()
        self.query = nn.Linear(8, 8)

    def forward(self, x, memory):
        return functional.scaled_dot_product_attention(self.query(x), memory, memory)


@pytest.mark.parametrize("arrives", [lambda module: module, torch.jit.script])
def test_attention_on_a_memory_without_gradient(arrives) -> None:
    """Products over 2 heads of 35 pairs of 8: again the scores, dP and dQ; with a gradient of the memory dK and dV too.

    Beside them the weight of the queries, 8 x 8 over 2 x 5 rows.
    """
    product, weight = 2 * 5 * 7 * 8, 8 * 8 * 10
    inputs = torch.zeros(1, 2, 5, 8), torch.zeros(1, 2, 7, 8)
    frozen = backward_of(arrives(Cross()), inputs)
    assert frozen.macs == 3 * product + weight
    trained = backward_of(arrives(Cross()), (inputs[0], inputs[1].clone().requires_grad_()))
    assert trained.macs == 5 * product + weight
    # dK and dV are sums over 5 queries each, the two are added to each other; dK and dV cost no other operation.
    saved = {kind: trained.kinds[kind] - frozen.kinds[kind] for kind in trained.kinds}
    sums = 2 * (product - 2 * 7 * 8) + 2 * 7 * 8
    assert {kind: amount for kind, amount in saved.items() if amount} == {"multiply": 2 * product, "add": sums}


class Sequence(nn.Module):
    """The outputs of a recurrence."""

    def __init__(self, kind, **options):
        super().__init__()
        self.layers = kind(4, 4, batch_first=True, **options)

    def forward(self, x):
        return self.layers(x)[0]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}])
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_a_step_of_a_recurrence_costs_the_same_as_torchscript(kind, options, needs_gradient) -> None:
    """Of GRU and RNN torch runs every step as operators of their own, which knows nothing of our formulas."""
    x = torch.zeros(2, 5, 4, requires_grad=needs_gradient)
    eager = backward_of(Sequence(kind, **options), x)
    script = backward_of(torch.jit.script(Sequence(kind, **options)), x)
    assert (script.macs, script.kinds) == (eager.macs, eager.kinds)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}, {"bias": False}])
def test_a_frozen_recurrence_costs_the_same_as_torchscript(kind, options) -> None:
    """Of 64-bit numbers torch has no fused kernel of an LSTM either.

    Its last cells, which nobody uses, have no gradient there; the formula adds the zeros a kernel is given.
    """
    x = torch.zeros(2, 5, 4, dtype=torch.float64, requires_grad=True)
    eager = backward_of(Sequence(kind, **options).double().requires_grad_(False), x)
    script = backward_of(torch.jit.script(Sequence(kind, **options).double().requires_grad_(False)), x)
    cells = 2 * 4 * (1 + len(options.keys() & {"num_layers", "bidirectional"})) if kind is nn.LSTM else 0
    assert eager.macs == script.macs
    assert eager.kinds == {**script.kinds, "add": script.kinds["add"] + cells}


@pytest.mark.parametrize("arrives", [lambda module: module, torch.jit.script])
def test_a_gradient_of_the_input_alone_needs_none_of_the_weights(arrives) -> None:
    """10 rows of 16 gates, 4 + 4 wide, forward; the input over all rows, the state at all but the first of 5 steps.

    Of attention, 2 heads of 35 pairs of 8: scores and mixing; again the scores, dP and dQ; and the queries' own weight.
    """
    for module, shapes, expected in (
        (Sequence(nn.LSTM), [(2, 5, 4)], 10 * 16 * 8 + 10 * 16 * 4 + 8 * 16 * 4),
        (Cross(), [(1, 2, 5, 8), (1, 2, 7, 8)], 2 * 10 * 8 * 8 + (2 + 3) * 70 * 8),
    ):
        program = arrives(module)

        def asked(*inputs, program=program):
            with torch.enable_grad():
                inputs = [each.detach().requires_grad_() for each in inputs]
                return torch.autograd.grad(program(*inputs).sum(), inputs[0])

        assert count(asked, tuple(map(torch.zeros, shapes)), strict=True).macs == expected


def test_a_scripted_lstm_has_the_products_that_are_asked_for() -> None:
    """10 rows of 16 gates: weights 4 wide on either side over all rows, the state at all but the first of 5 steps."""
    forward, weights, state = 10 * 16 * 8, 10 * 16 * 8, 8 * 16 * 4
    scripted = torch.jit.script(Sequence(nn.LSTM))
    assert count_training(scripted, torch.zeros(2, 5, 4), optimiser=None).macs == forward + weights + state
    wanted = torch.zeros(2, 5, 4, requires_grad=True)
    assert count_training(scripted, wanted, optimiser=None).macs == forward + weights + state + 10 * 16 * 4 == 3712


class Penalty(nn.Module):
    """The squared norm of a gradient, which is differentiated itself."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.projection = nn.Linear(4, 4)

    def forward(self, x):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self.inner(self.projection(x)).sum(), x, create_graph=True)
        return (gradient**2).sum()


def attend(x):
    return functional.scaled_dot_product_attention(x, x, x)


def spelled_out(x):
    return torch.softmax(x @ x.mT / math.sqrt(4), -1) @ x


@pytest.mark.parametrize(
    ("inner", "name"),
    [
        (attend, "scaled_dot_product_attention"),
        (Sequence(nn.LSTM), "lstm"),
        (Sequence(nn.GRU), "gru"),
        (
            lambda x: functional.ctc_loss(
                x.transpose(0, 1).log_softmax(-1), torch.ones(2, 2, dtype=torch.int64), (5, 5), (2, 2)
            ),
            "ctc_loss",
        ),
    ],
)
def test_a_second_derivative_of_a_function_counted_whole_is_unknown(inner, name) -> None:
    tally = count_training(Penalty(inner), torch.zeros(2, 5, 4), optimiser=None)
    assert not tally.complete
    assert [(one.operator, one.reason) for one in tally.unknown] == [
        (f"torch::{name}", "second derivative of a function counted whole")
    ]
    with pytest.raises(UncountedOperatorError, match="second derivative"):
        count_training(Penalty(inner), torch.zeros(2, 5, 4), optimiser=None, strict=True)


def test_second_derivatives_of_other_functions_are_counted() -> None:
    program, x = Penalty(spelled_out), torch.zeros(2, 5, 4)
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as executed:
        program(x).backward()
    # torch's own figure of the products it ran, two operations for each pair.
    names = ("aten::mm", "aten::addmm", "aten::bmm")
    products = sum(event.flops for event in executed.key_averages() if event.key in names)
    assert 2 * count_training(program, x, optimiser=None, strict=True).macs == products > 0

    # A gradient that keeps its graph and is not differentiated is a gradient.
    def gradient(x):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(attend(x).sum(), x, create_graph=True)[0]

    assert count(gradient, torch.zeros(2, 5, 4), strict=True).macs == 7 * 2 * 25 * 4
