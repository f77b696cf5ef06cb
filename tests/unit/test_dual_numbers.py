"""Dual numbers: a number and its derivative are both computed, and both count."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from deepspeech2 import count
from deepspeech2.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def dual(function):
    def program(x):
        with forward_ad.dual_level():
            result = forward_ad.unpack_dual(function(forward_ad.make_dual(x, torch.ones_like(x))))
        return result.primal, result.tangent

    return program


def test_a_layer_costs_the_products_torch_runs() -> None:
    """Three: of the number, of its derivative, and of the derivative of the weight, zeros that torch multiplies."""
    program, x = dual(lambda x: functional.linear(x, torch.ones(5, 4))), torch.zeros(2, 3, 4)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        program(x)
    products = sum(event.count for event in profiled.key_averages() if event.key == "aten::mm")
    assert count(program, x, strict=True).macs == products * (2 * 3 * 4 * 5) == 360


def test_attention_of_dual_numbers_has_six_products() -> None:
    """Scores q k, their derivative q' k + q k'; the mixture p v, its derivative p' v + p v'."""
    program = dual(lambda x: functional.scaled_dot_product_attention(x, x, x))
    assert count(program, torch.zeros(2, 10, 4), strict=True).macs == 6 * 2 * 10 * 10 * 4


def test_what_torch_cannot_differentiate_forward_is_refused_with_its_words() -> None:
    with pytest.raises(InputError, match="forward AD"):
        count(dual(lambda x: torch.nn.LSTM(4, 4)(x)[0]), torch.zeros(2, 3, 4))
