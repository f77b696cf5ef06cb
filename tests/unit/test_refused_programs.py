"""Programs and files that cannot be counted are refused in words: which value, which line, what was found."""

import pickle

import pytest
import torch
from torch import nn
from torch.masked import masked_tensor
from torch.nn import functional

from deepspeech2 import count, count_training
from deepspeech2.cli.main import main
from deepspeech2.errors import DataDependentError, InputError


def branches(x):
    return x if x.sum() > 0 else -x


def selects(x):
    return x[x > 0]


@pytest.mark.parametrize(
    ("program", "value", "line"),
    [(branches, "as item", "x if x.sum\\(\\) > 0 else -x"), (selects, "not zero", "return x\\[x > 0\\]")],
)
def test_what_depends_on_values_is_quoted(program, value, line) -> None:
    with pytest.raises(DataDependentError, match=rf"{value}.*test_refused_programs.py:\d+ \(.*{line}\)"):
        count(program, torch.empty(5))


@pytest.mark.parametrize(
    ("program", "value"),
    [
        (torch.unique, "how many different values"),
        (lambda x: torch.unique(x, dim=0), "how many different rows"),
        (torch.unique_consecutive, "how many runs"),
        (lambda x: torch.masked_select(x, x > 0), "how many elements its mask"),
    ],
)
def test_a_size_that_values_decide_is_named(program, value) -> None:
    with pytest.raises(DataDependentError, match=value):
        count(program, torch.empty(5, 3))


def test_a_value_needed_inside_a_layer_of_torch_has_its_line() -> None:
    class Unique(nn.Module):
        forward = staticmethod(torch.unique)

    with pytest.raises(DataDependentError, match=r"functional\.py:\d+ \("):
        count(nn.Sequential(Unique()), torch.empty(5))


def test_a_known_mask_selects_and_an_unknown_one_does_not() -> None:
    mask = torch.tensor([True, False, True])
    tally = count(lambda x, m: torch.masked_select(x, m).relu(), (torch.empty(3), mask), strict=True)
    assert tally.kinds["compare"] == 2
    with pytest.raises(DataDependentError, match="masked_select"):
        count(lambda x: torch.masked_select(x, x > 0), torch.empty(3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_script_that_fails_without_words_shows_its_line() -> None:
    scripted = torch.jit.script(nn.Linear(3, 4))
    with pytest.raises(InputError, match=r"inputs \(2, 7\): RuntimeError at `return F.linear"):
        count(scripted, torch.empty(2, 7))


def test_tensors_without_one_shape_are_refused() -> None:
    nested = torch.nested.nested_tensor([torch.empty(3, 4), torch.empty(5, 4)], layout=torch.jagged)
    with pytest.raises(InputError, match="nested one"):
        count(nn.Linear(4, 6), nested)
    with pytest.raises(InputError, match="sparse_coo"):
        count(torch.sparse.mm, (torch.eye(4).to_sparse(), torch.empty(4, 5)))


def test_a_sparse_product_inside_is_unknown_where_it_is_called() -> None:
    tally = count(lambda a, b: torch.sparse.mm(a.to_sparse(), b), (torch.empty(4, 4), torch.empty(4, 5)))
    assert not tally.complete
    assert all("test_refused_programs.py" in one.sites[0] for one in tally.unknown)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("text.pt2", b"hello", "no archive"),
        ("empty.pt", b"", "empty file"),
        ("cut.pt2", b"PK\x03\x04 and no directory", "truncated or damaged"),
        ("whole.pt", pickle.dumps({"a": 1}), "pickle"),
        ("text.onnx", b"hello", "ONNX model"),
    ],
)
def test_files_that_are_no_models_take_one_line(capsys, tmp_path, name, content, found) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit) as exit_status:
        main(["flops", str(tmp_path / name), "--shape", "2,3"])
    output = capsys.readouterr()
    assert exit_status.value.code == 2
    assert output.out == ""
    assert found in output.err
    assert len(output.err.strip().splitlines()) == 1


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors")
def test_masked_tensors_are_refused_in_words() -> None:
    x, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(InputError, match=r"found a masked one \(torch.masked\)"):
        count(lambda x: masked_tensor(x, mask).sum(), x)
    with pytest.raises(InputError, match=r"found a masked one \(torch.masked\)"):
        count(lambda x: x.sum(), masked_tensor(x, mask))


class Dequantised(torch.Tensor):
    """A matrix of 8-bit integers that is multiplied by its scales wherever an operator takes it."""

    @staticmethod
    def __new__(cls, integers, scales):
        return torch.Tensor._make_wrapper_subclass(cls, integers.shape, dtype=scales.dtype)

    def __init__(self, integers, scales) -> None:
        self.integers, self.scales = integers, scales

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.detach.default:
            return args[0]
        return func(*[one.integers * one.scales if isinstance(one, cls) else one for one in args], **(kwargs or {}))


class Squashed(torch.Tensor):
    """A weight whose tangent is used."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is functional.linear:
            args = (args[0], torch.tanh(args[1].as_subclass(torch.Tensor)), *args[2:])
        return super().__torch_function__(func, types, args, kwargs or {})


class Named(torch.Tensor):
    """Overrides nothing."""


def layer_with(weight):
    layer = nn.Linear(8, 5)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


def dequantised():
    return Dequantised(torch.ones(5, 8, dtype=torch.int8), torch.rand(5, 1))


def keeping(weight):
    layer = nn.Linear(8, 5)
    layer.spare = [weight]
    return layer


@pytest.mark.parametrize(
    ("program", "x", "words"),
    [
        (nn.Sequential(layer_with(dequantised())), torch.ones(3, 8), "Dequantised.*__torch_dispatch__.*0.weight$"),
        (
            layer_with(torch.rand(5, 8).as_subclass(Squashed)),
            torch.ones(3, 8),
            "Squashed.*_torch_function_.* weight$",
        ),
        (nn.Linear(8, 5), torch.ones(3, 8).as_subclass(Squashed), "Squashed.*it is input 0$"),
        (keeping(dequantised()), torch.ones(3, 8), "Dequantised.*it is the module's spare$"),
        (
            lambda x: functional.linear(x, dequantised()),
            torch.ones(3, 8),
            r"Dequantised.*met at .*test_refused_programs\.py",
        ),
    ],
)
def test_tensors_that_run_code_of_their_own_are_refused_by_name(program, x, words) -> None:
    with pytest.raises(InputError, match=words):
        count(program, x)
    with pytest.raises(InputError, match=words):
        count(program, x, symbolic={"batch": 0})
    if isinstance(program, nn.Module):
        with pytest.raises(InputError, match=words):
            count_training(program, x)


def test_classes_of_tensors_that_override_nothing_are_plain_tensors() -> None:
    class Weight(nn.Parameter):
        pass

    layer = nn.Linear(8, 5, bias=False)
    layer.weight = Weight(torch.rand(5, 8))
    assert count(layer, torch.ones(3, 8).as_subclass(Named), strict=True).macs == 3 * 8 * 5


HELD = torch.eye(3).to_sparse()


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(
    ("program", "words"),
    [
        (lambda x: torch.nested.nested_tensor([x, x]), "a nested one"),
        (lambda x: torch.nested.nested_tensor([x, x], layout=torch.jagged) * 2, "a nested one"),
        (
            lambda x: torch.sparse_csr_tensor(torch.arange(4), torch.arange(3), x[:, 0], (3, 3)) @ x,
            "a compressed sparse one",
        ),
        (lambda x: HELD @ x, "layout torch.sparse_coo"),
        (lambda x: x.as_subclass(Named) * 2, "into another class"),
    ],
)
def test_tensors_without_fakes_inside_a_program_are_refused_with_the_line(program, words) -> None:
    with pytest.raises(InputError, match=rf"found .*{words}.*met at .*test_refused_programs\.py:\d+"):
        count(program, torch.empty(3, 8))
