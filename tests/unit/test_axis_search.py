"""Which axis a symbolic dimension is: the longest that gives a formula, and the formula says which."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deepspeech2.errors import ClosedFormError, InputError, OptionError
from deepspeech2.flops.counting import count, count_training


def test_features_longer_than_the_example_are_not_taken_for_time() -> None:
    """40 features of 12 frames: only the frames are free. Products: 40 x 3 for each."""
    formula = count(nn.Linear(40, 3), torch.zeros(2, 12, 40), symbolic={"batch": ..., "time": ...})
    assert formula.at("mac", batch=5, time=1000) == 5 * 1000 * 40 * 3
    assert formula.axes == "batch is axis 0 of input 0, time is axis 1 of input 0"
    assert "time is axis 1 of input 0; other sizes as in the example" in formula.python()


def test_a_training_step_searches_too() -> None:
    """Gradients of weights alone: as many products again."""
    step = count_training(nn.Linear(40, 3), torch.zeros(2, 12, 40), symbolic={"time": ...})
    assert step.at("mac", time=100) == 2 * (2 * 100 * 40 * 3)


def test_the_longest_axis_is_taken_where_it_gives_a_formula() -> None:
    """Height and width are alike; height comes first, and width stays 30. Three taps of one channel each."""
    formula = count(nn.Conv2d(1, 1, (3, 1)), torch.zeros(1, 1, 30, 30), symbolic={"time": ...})
    assert formula.axes == "time is axis 2 of input 0"
    assert formula.at("mac", time=102) == 100 * 30 * 3


def test_two_open_names_are_two_axes() -> None:
    """32 features are longest, and fixed: the names go to the others, the longer first."""
    formula = count(nn.Linear(32, 2), torch.zeros(2, 9, 7, 32), symbolic={"batch": ..., "long": ..., "short": ...})
    assert formula.axes == "batch is axis 0 of input 0, long is axis 1 of input 0, short is axis 2 of input 0"
    assert formula.at("mac", batch=1, long=50, short=20) == 50 * 20 * 32 * 2


def test_inputs_by_name_are_named() -> None:
    formula = count(torch.add, {"input": torch.zeros(2, 5), "other": torch.zeros(2, 5)}, symbolic={"batch": ...})
    assert formula.axes == "batch is axis 0 of inputs input and other"


def test_an_axis_the_module_fixes_is_named_first_in_the_refusal() -> None:
    with pytest.raises(ClosedFormError, match=r"^time is axis 2 of input 0, which the module does not run at other"):
        count(nn.Linear(40, 3), torch.zeros(2, 12, 40), symbolic={"time": -1})

    def fixed(values: torch.Tensor) -> torch.Tensor:
        return values.view(2, 12, 40) * 2

    with pytest.raises(ClosedFormError, match=r"^time is axis 2 of input 0 \(the longest\), which.*name the axis"):
        count(fixed, torch.zeros(2, 12, 40), symbolic={"time": ...})


def test_an_example_that_does_not_fit_is_refused_for_that() -> None:
    with pytest.raises(InputError, match=r"does not run on inputs \(2, 12, 41\)"):
        count(nn.Linear(40, 3), torch.zeros(2, 12, 41), symbolic={"time": ...})


@pytest.mark.parametrize("name", ["lambda", "None", "two words", "", 3])
def test_names_that_cannot_be_written_as_arguments_are_refused(name: object) -> None:
    """`formula.at(lambda=1)` is no Python."""
    with pytest.raises(OptionError, match="a name that Python takes for an argument"):
        count(nn.Linear(4, 3), torch.zeros(2, 4), symbolic={name: 0})  # type: ignore[dict-item]
