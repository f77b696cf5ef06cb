"""Programs and files that cannot be counted are refused in words: which value, which line, what was found."""

import pickle

import pytest
import torch
from torch import nn
from torch.masked import masked_tensor

from deepspeech2 import count
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
