"""Closed formulas of random stacks of layers equal counts at sizes they were not derived from."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from deepspeech2 import count
from deepspeech2.errors import ClosedFormError

CHANNELS = 4


class Recurrent(nn.Module):
    """A recurrent layer between layouts (batch, channels, time)."""

    def __init__(self, kind: str, bidirectional: bool) -> None:
        super().__init__()
        size = CHANNELS // 2 if bidirectional else CHANNELS
        self.layer = getattr(nn, kind)(CHANNELS, size, batch_first=True, bidirectional=bidirectional)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.transpose(1, 2))[0].transpose(1, 2)


class Attending(nn.Module):
    """Attention over time: quadratic."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = x.transpose(1, 2)
        return functional.scaled_dot_product_attention(q, q, q, is_causal=self.causal).transpose(1, 2)


def convolution(kernel: int, stride: int, padding: int, dilation: int) -> nn.Module:
    return nn.Conv1d(CHANNELS, CHANNELS, kernel, stride, padding, dilation)


LAYERS = st.one_of(
    st.builds(convolution, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2)),
    st.builds(Recurrent, st.sampled_from(["RNN", "GRU", "LSTM"]), st.booleans()),
    st.builds(Attending, st.booleans()),
    st.sampled_from([2, 3]).map(lambda size: nn.MaxPool1d(size, stride=2, padding=1)),
    st.sampled_from([nn.ReLU, nn.GELU, lambda: nn.GroupNorm(2, CHANNELS), lambda: nn.BatchNorm1d(CHANNELS)]).map(
        lambda build: build()
    ),
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(layers=st.lists(LAYERS, min_size=1, max_size=3), batch=st.integers(1, 4), time=st.integers(30, 90))
def test_a_stack_of_layers(layers, batch, time) -> None:
    model = nn.Sequential(*layers)
    formula = count(model, torch.empty(2, CHANNELS, 64), symbolic={"batch": 0, "time": [(0, 2)]})
    expected = count(model, torch.empty(batch, CHANNELS, time))
    assert formula.tally_at(batch=batch, time=time).count == expected.count


def halves(x):
    return functional.interpolate(x, size=x.shape[2] // 2, mode="linear")


def padded_to_even(x):
    return functional.pad(x, (0, x.shape[2] % 2)).reshape(x.shape[0], -1, 2 * CHANNELS) @ torch.ones(2 * CHANNELS, 3)


@pytest.mark.parametrize("program", [halves, padded_to_even])
def test_programs_that_compute_sizes_in_python_have_one(program) -> None:
    formula = count(program, torch.empty(2, CHANNELS, 60), symbolic={"batch": 0, "time": [(0, 2)]})
    for batch, time in [(1, 60), (3, 74), (5, 200), (1, 61), (2, 1001)]:
        expected = count(program, torch.empty(batch, CHANNELS, time))
        assert formula.tally_at(batch=batch, time=time).count == expected.count


def test_a_sort_is_no_polynomial_and_says_so() -> None:
    with pytest.raises(ClosedFormError, match="no closed formula in batch, time"):
        count(lambda x: x.sort(2).values, torch.empty(2, CHANNELS, 60), symbolic={"batch": 0, "time": [(0, 2)]})
