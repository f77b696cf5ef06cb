"""A network of 8 to 16 to 4 with 192 products a sample, handed over in the ways people have models."""

import dataclasses
import functools
import math
import runpy
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from deepspeech2 import count, count_training
from deepspeech2.errors import CountingError, DataDependentError, InputError
from deepspeech2.flops import registry

SAMPLES, EACH = 3, 8 * 16 + 16 * 4
FIRST = 8 * 16


def layers():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def example(**options):
    return torch.empty(SAMPLES, 8, **options)


@dataclasses.dataclass
class Output:
    logits: torch.Tensor


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = layers()

    def forward(self, x):
        return Output(self.layers(x))

    def encode(self, x):
        return self.layers(x)


class Mixed(Wrapped):
    """Half precision inside."""

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.layers(x)


class Frozen(Wrapped):
    """A part without gradients."""

    def forward(self, x):
        with torch.no_grad():
            fixed = self.layers(x)
        return fixed + self.layers(x)


class Hooked(Wrapped):
    def __init__(self) -> None:
        super().__init__()
        self.layers[0].register_forward_hook(lambda _module, _inputs, output: output * 2)
        self.register_forward_pre_hook(lambda _module, inputs: (inputs[0] + 1,))


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(layers().eval())


def compiled():
    with warnings.catch_warnings():
        # Importing the compiler warns of TorchScript.
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.compile(layers())


def frozen_script():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.freeze(scripted())


def input_gradient(x):
    program = layers()
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return torch.autograd.grad(program(x).sum(), x)[0]


# Name -> program, products a sample by hand.
ARRIVALS = {
    "module": (layers, EACH),
    "TorchScript": (scripted, EACH),
    "frozen TorchScript": (frozen_script, EACH),
    "compiled": (compiled, EACH),
    "exported": (lambda: torch.export.export(layers(), (example(),)), EACH),
    "traced by fx": (lambda: torch.fx.symbolic_trace(layers()), EACH),
    "lambda": (lambda: lambda x: layers()(x) + 1, EACH),
    "bound method": (lambda: Wrapped().encode, EACH),
    "partial": (lambda: functools.partial(nn.functional.linear, weight=torch.empty(4, 8)), 4 * 8),
    "DataParallel": (lambda: nn.DataParallel(layers()), EACH),
    "a result of one's own class": (Wrapped, EACH),
    "autocast": (Mixed, EACH),
    "a part without gradients": (Frozen, 2 * EACH),
    "hooks": (Hooked, EACH),
    "on meta": (lambda: layers().to("meta"), EACH),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 4)), 4 * 8),
    "per sample": (lambda: torch.vmap(layers()), EACH),
    # The gradient of the input: a product more for each of the forward pass, none for weights.
    "torch.func.grad": (lambda: torch.func.grad(lambda x: layers()(x).sum()), 2 * EACH),
    "torch.autograd.grad": (lambda: input_gradient, 2 * EACH),
    # Four results, a gradient of the input for each.
    "torch.func.jacrev": (lambda: torch.func.jacrev(lambda x: layers()(x).sum(0)), (1 + 4) * EACH),
}


@pytest.mark.parametrize("name", ARRIVALS)
def test_products_are_counted_however_the_model_arrives(name) -> None:
    build, each = ARRIVALS[name]
    tally = count(build(), example(), strict=True)
    assert tally.macs == SAMPLES * each


@pytest.mark.parametrize("from_a_file", [True, False])
def test_a_traced_script_computes_with_sizes_and_numbers_of_its_own(tmp_path, from_a_file) -> None:
    """Attention of width 16, 5 places of 2: four projections, scores and mixing; from a file, too.

    Its graph divides sizes and holds a scale, which TorchScript asks for while it optimises.
    """
    attention = nn.MultiheadAttention(16, 4).eval()
    inputs = (torch.zeros(5, 2, 16),) * 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.trace(attention, inputs, check_trace=False)
        if from_a_file:
            program.save(tmp_path / "attention.ts")
            program = torch.jit.load(tmp_path / "attention.ts")
    expected = 5 * 2 * 4 * 16 * 16 + 2 * 2 * 5 * 5 * 16
    assert count(program, inputs, strict=True).macs == expected
    assert count(attention, inputs).macs == expected


@pytest.mark.parametrize("build", [layers, scripted, lambda: nn.DataParallel(layers()), Wrapped, Hooked, Mixed])
def test_training_counts_them_and_leaves_gradients_alone(build) -> None:
    """Backward: a product for each weight, and one for each input but the first layer's."""
    program = build()
    before = [torch.ones_like(parameter) for parameter in program.parameters()]
    for parameter, gradient in zip(program.parameters(), before, strict=True):
        parameter.grad = gradient
    step = count_training(program, example(), strict=True)
    assert step.phase("forward").macs == SAMPLES * EACH
    assert step.phase("backward").macs == SAMPLES * (2 * EACH - FIRST)
    assert step.phase("optimiser").total > 0
    for parameter, gradient in zip(program.parameters(), before, strict=True):
        assert parameter.grad is gradient
        assert type(gradient) is torch.Tensor
        assert torch.equal(gradient, torch.ones_like(gradient))


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_runs_its_forward_again_in_the_backward(reentrant) -> None:
    """Whole, or, the other implementation, up to the last tensor that is needed: the input of the last layer."""
    program = layers()
    step = nn.Module()
    step.layers = program
    step.forward = lambda x: checkpoint(program, x, use_reentrant=reentrant)
    tally = count_training(step, example(requires_grad=True), strict=True)
    assert tally.phase("forward").macs == SAMPLES * EACH
    assert tally.phase("backward").macs == SAMPLES * ((EACH if reentrant else FIRST) + 2 * EACH)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("axes", [(2,), (2, 3)])
def test_a_checkpoint_runs_attention_and_recurrences_again_whole(reentrant, axes) -> None:
    """Attention over 25 pairs of 4: twice forward, 2 products, its gradient 5. An LSTM twice, and its gradient."""
    attend = nn.Module()
    function = nn.functional.scaled_dot_product_attention
    attend.forward = lambda x: checkpoint(lambda x: function(x, x, x), x, use_reentrant=reentrant)
    x = torch.zeros(*axes, 5, 4, requires_grad=True)
    tally = count_training(attend, x, optimiser=None, strict=True)
    assert tally.macs == (2 + 2 + 5) * 25 * 4 * math.prod(axes)

    layer, again = nn.LSTM(4, 3), nn.Module()
    again.layer = layer
    again.forward = lambda x: checkpoint(lambda x: layer(x)[0], x, use_reentrant=reentrant)
    x = torch.zeros(5, 2, 4, requires_grad=True)
    forward, weights, states = 10 * 12 * 7, 10 * 12 * 7, 8 * 12 * 3
    assert count_training(again, x, optimiser=None, strict=True).macs == 2 * forward + weights + 10 * 12 * 4 + states


def test_what_cannot_be_trained_says_so_in_a_line() -> None:
    for program in (frozen_script(), torch.export.export(layers(), (example(),)).module()):
        with pytest.raises(InputError, match="exported or frozen cannot be put into training mode") as raised:
            count_training(program, example())
        assert "\n" not in str(raised.value)
    with pytest.raises(CountingError, match="nothing to train"):
        count_training(nn.ReLU(), example())


class Asks(nn.Module):
    def forward(self, x):
        limit = x.max().item()
        return x * limit


def test_a_number_that_is_needed_is_named_with_its_line_and_what_is_written_there() -> None:
    with pytest.raises(DataDependentError, match=r"its one number.*test_ways_models_arrive\.py:\d+ \(limit = x.max"):
        count(Asks(), example())


class Padded(nn.Module):
    """Asks a buffer how wide its padding is."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("padding", torch.tensor(3))
        self.layer = nn.Linear(8, 4)

    def forward(self, x):
        return self.layer(nn.functional.pad(x, (0, 0, 0, int(self.padding))))


def test_integers_on_meta_have_no_values_and_the_refusal_says_where_to_make_them() -> None:
    """As EnCodec's paddings, which decide how long its convolutions' inputs are."""
    assert count(Padded(), example()).macs == (SAMPLES + 3) * 8 * 4
    with pytest.raises(DataDependentError, match=r"make them on the CPU \(padding\), or make the decision") as raised:
        count(Padded().to("meta"), example(device="meta"))
    assert "\n" not in str(raised.value)
    with pytest.raises(DataDependentError, match=r"on the CPU \(input 1 and 1 more\)"):
        count(lambda x, n, m: x[: int(n + m)], (example(), *[torch.empty((), dtype=torch.int64, device="meta")] * 2))


def test_a_mask_that_is_known_chooses_a_known_number_of_rows() -> None:
    """Rows 0 and 2 of three go through a layer of 8 by 4; so do their gradients back to the rows."""

    def chosen(x, mask):
        return x[mask] @ torch.empty(8, 4)

    mask = torch.tensor([True, False, True])
    assert count(chosen, (example(), mask)).macs == 2 * 8 * 4
    module = nn.Module()
    module.layer = nn.Linear(8, 8, bias=False)
    module.forward = lambda x: module.layer(x)[mask] @ torch.empty(8, 4)
    step = count_training(module, example())
    assert step.phase("backward").macs == 2 * 8 * 4 + SAMPLES * 8 * 8


class State:
    def __init__(self) -> None:
        self.rows = [torch.zeros(5, 8)]


def remembers(x, state):
    state.rows.append(x)
    state.rows[0] = torch.cat([state.rows[0], x])
    return state.rows[0] @ torch.empty(8, 2)


def test_an_object_among_the_inputs_is_lent_as_a_copy() -> None:
    state = State()
    first = state.rows[0]
    assert count(remembers, (example(), state)).macs == (5 + SAMPLES) * 8 * 2
    assert len(state.rows) == 1
    assert state.rows[0] is first


class Holder:
    def __init__(self, module) -> None:
        self.module = module


def test_a_module_among_the_inputs_is_not_copied() -> None:
    holder = Holder(layers())
    seen = []

    def program(x, holder):
        seen.append(holder.module)
        return holder.module(x)

    assert count(program, (example(), holder)).macs == SAMPLES * EACH
    assert seen[0] is holder.module


def test_the_example_of_an_operator_of_ones_own_runs(capsys) -> None:
    """2 x 4 by 4 x 3 with a bias: 48; then 2 operations for each of six results more."""
    path = Path(__file__).parents[2] / "examples" / "own_operator.py"
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        registry._rules.pop("example::scale_and_shift", None)
    first, second = capsys.readouterr().out.splitlines()
    line = next(number for number, text in enumerate(path.read_text().splitlines(), 1) if "self.layer(x))" in text)
    assert first == f">= 48 operations; not counted: example::scale_and_shift at {path}:{line}"
    assert second == "60 operations, complete: True"
