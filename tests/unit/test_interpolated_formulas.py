"""Closed formulas of programs that loop over time in Python."""

import pytest
import torch

from deepspeech2 import count
from deepspeech2.errors import ClosedFormError


class Loop(torch.nn.Module):
    """A strided convolution, then a recurrence written as a Python loop."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv1d(4, 6, 5, stride, 2, bias=False)
        self.weight = torch.nn.Parameter(torch.zeros(6, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.convolution(x)
        state = x.new_zeros(x.shape[0], 6)
        for step in range(x.shape[2]):
            state = torch.tanh(x[:, :, step] + state @ self.weight)
        return state


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_loop_over_time_has_an_exact_formula(stride: int) -> None:
    formula = count(Loop(stride), torch.empty(2, 4, 120), symbolic={"batch": 0, "time": 2})
    assert formula.derivation == "interpolated"
    for batch, time in [(1, 120), (7, 240), (3, 36_000_000)]:
        steps = (time - 1) // stride + 1
        macs = batch * steps * (6 * 4 * 5 + 6 * 6)
        # A dot product has one addition less than multiplications; the sum with the input and the tanh follow.
        adds = macs - 2 * batch * steps * 6 + batch * steps * 6
        assert formula.at("mac", batch=batch, time=time) == macs
        assert formula.at(batch=batch, time=time) == macs + adds + batch * steps * 6


def test_other_residue_classes_are_refused_and_say_so() -> None:
    formula = count(Loop(3), torch.empty(1, 4, 120), symbolic={"time": 2})
    with pytest.raises(ClosedFormError, match=r"Mod\(time, 3\)"):
        formula.at(time=121)


def test_a_count_that_is_no_polynomial_is_refused() -> None:
    def program(x: torch.Tensor) -> torch.Tensor:
        y = x
        for _ in range(int(x.shape[1] ** 0.5)):
            y = y + x
        return y

    with pytest.raises(ClosedFormError, match="not a quasi-polynomial in n"):
        count(program, torch.empty(2, 100), symbolic={"n": 1})
