"""The Python that a formula prints runs, without anything imported, and gives what counting gives."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import sympy
import torch
from torch.nn import functional

from deepspeech2 import count
from deepspeech2.flops.closed_form import integer_code
from deepspeech2.flops.expressions import dimension, flat_floors


def padded_to_four(x):
    return functional.conv1d(functional.pad(x, (0, -x.shape[-1] % 4)), torch.zeros(3, 8, 4), stride=4)


def causal(q, k):
    return functional.scaled_dot_product_attention(q, k, k, is_causal=True)


def test_remainders_of_sizes_are_python() -> None:
    formula = count(padded_to_four, torch.empty(2, 8, 50), symbolic={"time": 2})
    scope = {}
    exec(formula.python("mac"), scope)
    for time in (76, 77, 79):
        assert scope["operations"](time) == count(padded_to_four, torch.empty(2, 8, time)).macs


def test_the_smaller_of_two_sizes_is_python() -> None:
    inputs = (torch.empty(2, 4, 50, 8), torch.empty(2, 4, 30, 8))
    formula = count(causal, inputs, symbolic={"queries": [(0, 2)], "keys": [(1, 2)]})
    scope = {}
    exec(formula.python(), scope)
    for queries, keys in ((7, 9), (9, 7), (5, 5)):
        expected = count(causal, (torch.empty(2, 4, queries, 8), torch.empty(2, 4, keys, 8))).flops
        assert scope["operations"](queries=queries, keys=keys) == expected


@pytest.mark.parametrize("text", ["floor(t/3)", "ceiling(t/3)", "Mod(2*t, 5)", "Max(0, t - 4)", "Min(t, 7)"])
@pytest.mark.parametrize("outer", ["{}", "t*{} + 1", "Max(3, {})", "floor(({} + t)/2)", "{}**2/2 + {}/2"])
def test_every_function_of_a_formula_has_code(text, outer) -> None:
    t = sympy.Symbol("t", integer=True, positive=True)
    number = sympy.sympify(outer.replace("{}", text), locals={"t": t})
    code = integer_code(number)
    for size in range(1, 20):
        assert eval(code, {"t": size}) == number.subs(t, size)


def test_floors_of_floors_become_one_where_they_are_equal() -> None:
    """Strides one after another; not where a part of a number is under the outer floor, or a factor."""
    time = dimension("time")
    once = sympy.floor((time - 3) / 2)
    cases = {
        sympy.floor((once - 1) / 2): sympy.floor((time - 5) / 4),
        5 * sympy.floor(once / 3 + 2) + 1: 5 * sympy.floor((time - 3) / 6) + 11,
        sympy.floor(sympy.floor(sympy.floor(time / 5) / 2) / 2): sympy.floor(time / 20),
        sympy.floor(2 * once / 3): None,
        sympy.floor(once / 2 + time / 3): None,
    }
    for nested, flat in cases.items():
        found = flat_floors(nested)
        if flat is None:
            assert found == nested
        else:
            assert sympy.expand(found - flat) == 0
        for size in range(1, 80):
            assert found.subs(time, size) == nested.subs(time, size)


@pytest.mark.parametrize(
    ("module", "channels"),
    [(torch.nn.InstanceNorm1d(4), 4), (torch.nn.Conv1d(3, 2, 5, stride=2), 3), (torch.nn.Conv1d(3, 2, 1), 3)],
)
def test_generated_code_refuses_the_lengths_torch_refuses(module, channels) -> None:
    """Torch itself runs every length; where it does, counting that length gives what the code gives."""
    formula = count(module, torch.empty(2, channels, 20), symbolic={"batch": ..., "time": ...})
    namespace: dict[str, Any] = {}
    exec(formula.python(), namespace)
    for batch, time in itertools.product((1, 3), range(1, 12)):
        x = torch.zeros(batch, channels, time)
        try:
            module(x)
        except (RuntimeError, ValueError):
            with pytest.raises(ValueError, match=r"this formula holds for time >= \d only"):
                namespace["operations"](batch, time)
        else:
            assert namespace["operations"](batch, time) == count(module, x).flops


def test_line_ends_in_a_remark_do_not_end_its_comment() -> None:
    """Names that a file chooses are among the remarks; code in them stays a comment."""
    formula = replace(count(padded_to_four, torch.empty(2, 8, 48), symbolic={"time": 2}), notes=("a\n    return 0\r1",))
    scope: dict[str, Any] = {}
    exec(formula.python("mac"), scope)
    assert scope["operations"](4) == 2 * 3 * 8 * 4
    above = formula.latex("mac").split("\n")[:-1]
    assert above[-3:] == ["% a", "%     return 0", "% 1"]
