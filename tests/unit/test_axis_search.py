"""Which axis a symbolic dimension is: the longest that gives a formula, and the formula says which."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

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


def test_a_fixed_axis_that_was_not_searched_is_said_to_be_no_more_than_that() -> None:
    """The batch is axis 0 whatever is tried for time: it is not the longest, and no other axis was tried for it."""

    def fixed(values: torch.Tensor) -> torch.Tensor:
        return values.view(2, 12, 40) * 2

    with pytest.raises(ClosedFormError, match=r"^batch is axis 0 of input 0, which.*; name another axis") as raised:
        count(fixed, torch.zeros(2, 12, 40), symbolic={"batch": ..., "time": ...})
    assert "longest" not in str(raised.value)
    assert "no other axis" not in str(raised.value)


@pytest.mark.parametrize("names", [("time", "features"), ("features", "time")])
def test_an_axis_that_is_named_is_not_taken_by_a_name_before_it(names: tuple[str, str]) -> None:
    """80 features are longest, but named: time is the 50 frames. Features of a product with its own size: 3 each."""
    wanted = {"time": ..., "features": 2}

    def scaled(values: torch.Tensor) -> torch.Tensor:
        return values.sum(1) @ values.new_empty(values.shape[2], 3)

    formula = count(scaled, torch.zeros(1, 50, 80), symbolic={name: wanted[name] for name in names})
    assert formula.names == names
    assert formula.at("mac", time=9, features=11) == 11 * 3
    with pytest.raises(ClosedFormError, match=r"^features is axis 2 of input 0, which .*; name another axis"):
        count(nn.Linear(80, 3), torch.zeros(1, 50, 80), symbolic={name: wanted[name] for name in names})


@pytest.mark.parametrize("names", [("time", "rows"), ("rows", "time")])
def test_words_of_axes_follow_the_inputs_not_the_names(names: tuple[str, str]) -> None:
    wanted = {"time": ..., "rows": [(1, 0)]}
    inputs = (torch.zeros(6, 50), torch.zeros(7, 50))
    formula = count(functional.linear, inputs, symbolic={name: wanted[name] for name in names})
    words = {"time": "time is axis 1 of inputs 0 and 1", "rows": "rows is axis 0 of input 1"}
    assert formula.axes == ", ".join(words[name] for name in names)
    assert formula.at("mac", time=9, rows=5) == 6 * 9 * 5


def test_an_example_that_does_not_fit_is_refused_for_that() -> None:
    with pytest.raises(InputError, match=r"does not run on inputs \(2, 12, 41\)"):
        count(nn.Linear(40, 3), torch.zeros(2, 12, 41), symbolic={"time": ...})


@pytest.mark.parametrize("name", ["lambda", "None", "two words", "", 3])
def test_names_that_cannot_be_written_as_arguments_are_refused(name: object) -> None:
    """`formula.at(lambda=1)` is no Python."""
    with pytest.raises(OptionError, match="a name that Python takes for an argument"):
        count(nn.Linear(4, 3), torch.zeros(2, 4), symbolic={name: 0})  # type: ignore[dict-item]
