"""count: leaves everything as it was, computes nothing, and says what it could not count."""

import inspect
import re
import resource
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules import module as module_hooks

from deepspeech2 import OperationCount, build_model, count, count_training, register_formula
from deepspeech2.errors import CountingError, DataDependentError, InputError, OptionError, UncountedOperatorError
from deepspeech2.flops import registry


def meta(*shape):
    return torch.empty(shape, device="meta")


def line_of(function, text) -> str:
    """`file:line` of the line of a function that contains a text."""
    lines, start = inspect.getsourcelines(function)
    (offset,) = [index for index, line in enumerate(lines) if text in line]
    return f"{__file__}:{start + offset}"


@torch.library.custom_op("deepspeech2_tests::mystery", mutates_args=())
def mystery(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


@mystery.register_fake
def _(x):
    return torch.empty_like(x)


@pytest.fixture
def mystery_name():
    """The operator's name; a formula that a test registers for it is forgotten again."""
    yield "deepspeech2_tests::mystery"
    registry._rules.pop("deepspeech2_tests::mystery", None)


# The module is left alone ----------------------------------------------------------------------------------------


class Everything(nn.Module):
    """Parameters, running statistics, a counter of batches, randomness, a cached tensor, hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.gru = nn.GRU(4, 3, batch_first=True)
        self.table = torch.arange(5.0)
        self.steps = torch.zeros((), dtype=torch.int64)
        self.calls = []
        self.layers.register_forward_hook(lambda *_: self.calls.append("hook"))

    def forward(self, x):
        x, _ = self.gru(self.layers(x).transpose(1, 2))
        self.steps += 1
        return x.sum() + self.table.sum() + torch.rand(3).sum()


def state_of(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers()), "table": model.table}
    tensors["steps"] = model.steps
    objects = {name: (id(tensor), tensor._version, tensor.requires_grad) for name, tensor in tensors.items()}
    modes = [child.training for child in model.modules()]
    hooks = [len(child._forward_hooks) + len(child._forward_pre_hooks) for child in model.modules()]
    everywhere = len(module_hooks._global_forward_hooks) + len(module_hooks._global_forward_pre_hooks)
    return objects, modes, hooks, everywhere, {name: tensor.clone() for name, tensor in tensors.items()}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("symbolic", [None, {"batch": 0}])
def test_the_module_and_the_generator_are_left_alone(training, symbolic) -> None:
    model = Everything().train(training)
    x = torch.randn(3, 2, 9)
    before, values, randomness = state_of(model), x.clone(), torch.get_rng_state()
    grad_mode = torch.is_grad_enabled()
    count(model, x, symbolic=symbolic)
    after = state_of(model)
    assert after[:4] == before[:4]
    torch.testing.assert_close(after[4], before[4], rtol=0, atol=0)
    assert torch.equal(x, values)
    assert torch.equal(torch.get_rng_state(), randomness)
    assert torch.is_grad_enabled() == grad_mode
    assert all(parameter.grad is None for parameter in model.parameters())
    # It still runs, on real numbers.
    assert type(model(x)) is torch.Tensor


def test_a_module_that_fails_is_left_alone_too() -> None:
    model = Everything()
    before = state_of(model)
    with pytest.raises(InputError):
        count(model, torch.empty(3, 7, 9))
    after = state_of(model)
    assert after[:4] == before[:4]
    torch.testing.assert_close(after[4], before[4], rtol=0, atol=0)
    assert count(nn.Linear(2, 2), meta(1, 2)).macs == 4


def test_the_mode_of_the_module_is_respected() -> None:
    norm = nn.BatchNorm1d(3)
    assert count(norm.eval(), meta(4, 3)).kinds["sqrt"] == 3
    assert count(norm.train(), meta(4, 3)).kinds["add"] > count(norm.eval(), meta(4, 3)).kinds["add"]


# Nothing is computed ---------------------------------------------------------------------------------------------


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def test_activations_take_no_memory() -> None:
    image = torch.zeros(1).expand(1, 3, 30_000, 30_000)  # 10.8 GB if it were written out, 115 GB after the layer
    layers = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU())
    count(layers, image[..., :8, :8])
    before = peak_bytes()
    assert count(layers, image).macs == 32 * 3 * 9 * 30_000**2
    assert peak_bytes() - before < 50e6


def test_counts_are_exact_beyond_64_bits() -> None:
    huge = 10**9
    assert count(torch.mm, (meta(huge, 100), meta(100, huge))).macs == 100 * huge**2 > 2**64
    formula = count(torch.mm, (meta(5, 4), meta(4, 5)), symbolic={"n": [(0, 0), (1, 1)]})
    assert formula.at("mac", n=10**15) == 4 * 10**30


# Sharing ---------------------------------------------------------------------------------------------------------


def test_a_module_used_twice_computes_twice_and_holds_its_parameters_once() -> None:
    layer = nn.Linear(5, 5)
    tally = count(nn.Sequential(layer, nn.ReLU(), layer), meta(2, 5))
    assert tally.macs == 2 * 2 * 5 * 5
    assert tally.parameters == 30


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.output = nn.Linear(4, 7)
        self.output.weight = self.embedding.weight

    def forward(self, x):
        return self.output(self.embedding(x))


def test_a_tied_parameter_is_held_once_and_used_wherever_it_is_used() -> None:
    tally = count(Tied(), torch.zeros(3, dtype=torch.int64))
    assert tally.parameters == 7 * 4 + 7
    assert tally.macs == 3 * 4 * 7


# What cannot be counted ------------------------------------------------------------------------------------------


class Mysterious(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        first = mystery(self.layer(x))
        return mystery(first)


def test_unknown_operators_are_listed_with_their_lines(mystery_name) -> None:
    tally = count(Mysterious(), meta(2, 3))
    assert not tally.complete
    assert tally.macs == 18
    (unknown,) = tally.unknown
    assert unknown.operator == mystery_name
    assert unknown.calls == 2
    forward = Mysterious.forward
    assert unknown.sites == (line_of(forward, "first = "), line_of(forward, "return mystery"))


def test_strict_raises_and_names_the_line(mystery_name) -> None:
    place = re.escape(line_of(Mysterious.forward, "first = "))
    expected = rf"{mystery_name} .*{place}.*register_formula"
    with pytest.raises(UncountedOperatorError, match=expected) as raised:
        count(Mysterious(), meta(2, 3), strict=True)
    assert "\n" not in str(raised.value)
    assert count(nn.Linear(3, 3), meta(2, 3), strict=True).complete


def test_a_registered_formula_is_used_and_a_second_refused(mystery_name) -> None:
    @register_formula(torch.ops.deepspeech2_tests.mystery)
    def price(call):
        return OperationCount(multiply=call["x"].elements, add=1)

    tally = count(Mysterious(), meta(2, 3), strict=True)
    assert tally.kinds["multiply"] == 18 + 2 * 6
    with pytest.raises(CountingError, match=rf"{mystery_name} has a formula already .*price"):
        register_formula(mystery_name)(price)
    with pytest.raises(CountingError, match="aten::mm has a formula already"):
        register_formula(torch.ops.aten.mm.default)(price)


def test_an_operator_of_no_table_is_unknown_and_never_zero() -> None:
    tally = count(torch.linalg.matrix_exp, meta(4, 4))
    assert not tally.complete
    assert tally.unknown[0].operator.startswith("aten::")


# Variants --------------------------------------------------------------------------------------------------------

VARIANTS = {
    "add": [lambda x: x + x, lambda x: x.clone().add_(x), lambda x: torch.add(x, x, out=torch.empty_like(x))],
    "relu": [torch.relu, lambda x: torch.relu_(x.clone()), lambda x: functional.relu(x.clone(), inplace=True)],
    "exp": [torch.exp, lambda x: x.clone().exp_(), lambda x: torch.exp(x, out=torch.empty_like(x))],
    "clamp": [
        lambda x: x.clamp(0, 24),
        lambda x: x.clone().clamp_(0, 24),
        lambda x: torch.clamp(x, 0, 24, out=torch.empty_like(x)),
        lambda x: functional.hardtanh(x, 0.0, 24.0),
    ],
    "sum": [lambda x: x.sum(1), lambda x: torch.sum(x, 1, out=x.new_empty(x.shape[0]))],
    "addmm": [
        lambda x: torch.addmm(x, x, x),
        lambda x: x.clone().addmm_(x, x),
        lambda x: torch.addmm(x, x, x, out=torch.empty_like(x)),
    ],
}


@pytest.mark.parametrize("name", VARIANTS)
def test_in_place_and_out_variants_cost_the_same(name) -> None:
    first, *others = [count(program, meta(5, 5), strict=True).count for program in VARIANTS[name]]
    assert first.total > 0
    assert others == [first] * len(others)


# Bad input -------------------------------------------------------------------------------------------------------


def depends_on_a_value(x):
    if x.sum() > 0:  # a branch
        return x
    return x + 1


def asks_for_a_number(x):
    return x * x.max().item()


def finds_places(x):
    return x[x > 0] * 2


@pytest.mark.parametrize(
    ("program", "line"),
    [(depends_on_a_value, "a branch"), (asks_for_a_number, ".item()"), (finds_places, "x[x > 0]")],
)
def test_programs_that_depend_on_values_are_refused_with_the_line(program, line) -> None:
    place = re.escape(line_of(program, line))
    with pytest.raises(DataDependentError, match=rf"needs the value of a tensor .*{place}.*shapes only") as raised:
        count(program, meta(3))
    assert "\n" not in str(raised.value)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match=r"does not run on inputs \(2, 4\): .*") as raised:
        count(nn.Linear(3, 5), meta(2, 4))
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match=r"expected features of shape \(batch, 161, time\), found \(1, 80, 9\)"):
        count(build_model("default", device="meta"), meta(1, 80, 9))
    with pytest.raises(InputError, match="expected a torch module or a function to count, found int"):
        count(3, meta(1))  # type: ignore[call-overload]


def test_unknown_names_of_conventions_and_axes() -> None:
    tally = count(nn.Linear(3, 5), meta(2, 3))
    with pytest.raises(OptionError, match=r"unknown convention 'standart'.*Did you mean 'standard'"):
        tally.total("standart")
    with pytest.raises(OptionError, match="axis 4 is not in an input of shape"):
        count(nn.Linear(3, 5), meta(2, 3), symbolic={"batch": 4})


def test_inputs_may_be_a_tensor_a_tuple_or_a_dictionary() -> None:
    def program(x, *, factor):
        return x * factor

    assert count(program, {"x": meta(3), "factor": meta(3)}).kinds["multiply"] == 3
    assert count(torch.mul, [meta(3), meta(3)]).kinds == count(torch.mul, (meta(3), meta(3))).kinds
    with torch.no_grad():
        assert count(nn.ReLU(), meta(3)).kinds["compare"] == 3


# Empty tensors and bad shapes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "program",
    [torch.sum, lambda x: x.cumsum(0), lambda x: functional.mse_loss(x, x), torch.softmax, torch.var],
)
def test_empty_tensors_cost_nothing_and_never_less(program) -> None:
    arguments = (torch.empty(0, 4), 0) if program is torch.softmax else torch.empty(0, 4)
    tally = count(program, arguments)
    # What is left is done once for the result, such as the division of a mean.
    assert all(amount == 0 for name, amount in tally.kinds.items() if name != "divide")
    assert 0 <= tally.flops <= 2


def test_wrong_shapes_print_nothing_beside_the_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"\(4, 4\), \(4, 4\)"):
        count(torch.linalg.householder_product, (torch.empty(4, 4), torch.empty(4, 4)))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_gradients_go_by_readable_names() -> None:
    module = nn.Sequential(nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.LogSoftmax(1))
    rows = count_training(module, torch.empty(2, 3, 9)).rows()
    names = [row.operator for row in rows if row.phase == "backward"]
    assert names == ["convolution_backward", "batch_norm_backward", "relu_backward", "log_softmax_backward"]


def test_a_training_step_is_counted_whatever_mode_the_caller_is_in() -> None:
    layer, x = torch.nn.Linear(10, 3), torch.empty(2, 10)
    alone = count_training(layer, x)
    with torch.inference_mode():
        inside = count_training(layer, torch.empty(2, 10))
        formula = count_training(layer, x, symbolic={"batch": 0})
    assert inside.kinds == alone.kinds
    assert formula.at(batch=2) == alone.flops
