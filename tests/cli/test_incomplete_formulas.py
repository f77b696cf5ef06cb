"""`ds2 flops --formula` of a model with an operator that has no formula: a lower bound in every form, and said so."""

import pytest

from deepspeech2.cli.main import main

# The exponential of a matrix is of no table; it is of the weights alone, so that the rest is 4 x 3 for every frame.
MODEL = """
import torch
from torch import nn


class Exponential(nn.Linear):
    def forward(self, x):
        torch.linalg.matrix_exp(self.weight[:, :3])
        return super().forward(x)
"""
BOUND = "lower bound; not counted: aten::linalg_matrix_exp"
AXES = "batch is axis 0 of input 0, time is axis 1 of input 0; other sizes as in the example"


@pytest.fixture
def model(own_module) -> str:
    own_module("models_exponential", MODEL)
    return "models_exponential:Exponential(4, 3, bias=False)"


def printed(capsys, model: str, form: str, *arguments: str) -> str:
    main(["flops", model, "--shape", "2,50,4", "--formula", form, "--convention", "mac", *arguments])
    captured = capsys.readouterr()
    assert captured.err == "ds2: the totals are lower bounds, not counted: aten::linalg_matrix_exp\n"
    return captured.out


def test_text_says_so(capsys, model) -> None:
    assert printed(capsys, model, "text").splitlines() == ["mac: 12*batch*time", AXES, BOUND]


def test_python_says_so_in_comments_and_runs(capsys, model) -> None:
    code = printed(capsys, model, "python")
    assert [line.strip() for line in code.splitlines() if "#" in line] == [f"# {AXES}", f"# {BOUND}"]
    scope: dict = {}
    exec(code, scope)
    assert scope["operations"](5, 7) == 5 * 7 * 4 * 3


def test_latex_says_so_in_comments_above_the_formula(capsys, model) -> None:
    assert printed(capsys, model, "latex").splitlines() == [f"% {AXES}", f"% {BOUND}", "12 batch time"]


def test_a_file_is_told_of_at_the_terminal_too(capsys, model, tmp_path) -> None:
    assert printed(capsys, model, "latex", "--output", str(tmp_path / "formula.tex")) == ""
    assert f"% {BOUND}\n" in (tmp_path / "formula.tex").read_text()


@pytest.mark.parametrize("form", ["text", "python", "latex"])
def test_a_complete_formula_is_no_lower_bound(capsys, form) -> None:
    main(["flops", "torch.nn:Linear(4, 3)", "--shape", "2,50,4", "--formula", form])
    captured = capsys.readouterr()
    assert "lower bound" not in captured.out
    assert captured.err == ""
