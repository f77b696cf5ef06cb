"""Tallies: rows add up to the totals, and JSON gives back what was written."""

import json
from functools import reduce
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from deepspeech2 import OperationCount, Tally, build_model, count
from deepspeech2.errors import InputError
from deepspeech2.flops.expressions import dimension
from deepspeech2.flops.operations import KINDS
from deepspeech2.flops.tally import Layer, UnknownOperator
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions

deterministic = settings(max_examples=60, deadline=None, derandomize=True)

amounts = st.one_of(st.integers(0, 10), st.integers(0, 2**80))
batch, time = dimension("batch"), dimension("time")
expressions = st.sampled_from([3 * batch, batch * time**2 + 1, batch * ((time - 1) // 3 + 1), 7 * batch / 2])
numbers = st.one_of(amounts, expressions)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
counts = st.dictionaries(st.sampled_from([*KINDS, "macs", "padding_macs", "modelled", "integer", "notebook"]), numbers)


def layers(children):
    return st.builds(
        Layer,
        name=names,
        operator=names,
        phase=st.sampled_from(["forward", "backward", "optimiser"]),
        output_shape=st.lists(numbers, max_size=4).map(tuple),
        parameters=amounts,
        calls=amounts,
        own=counts.map(OperationCount.from_dict),
        bytes_read=numbers,
        bytes_written=numbers,
        children=children,
    )


trees = st.recursive(layers(st.just(())), lambda inner: layers(st.lists(inner, max_size=3).map(tuple)), max_leaves=6)
unknowns = st.builds(
    UnknownOperator, operator=names, calls=amounts, sites=st.lists(names, max_size=2).map(tuple), reason=names
)
tallies = st.builds(Tally, st.lists(trees, max_size=3).map(tuple), st.lists(unknowns, max_size=2).map(tuple))


@deterministic
@given(tally=tallies)
def test_json_gives_the_tally_back(tally) -> None:
    text = tally.to_json()
    assert Tally.from_json(text) == tally
    assert Tally.from_json(text).count == tally.count
    json.loads(text)


@deterministic
@given(tally=tallies, data=st.data())
def test_damaged_json_is_refused_in_one_line(tally, data) -> None:
    text = tally.to_json()
    end = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(InputError, match="expected the JSON of a tally") as raised:
        Tally.from_json(text[:end])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"format": "deepspeech2-tally", "version": 2, "layers": []}', "\0"])
def test_other_json_is_refused(text) -> None:
    with pytest.raises(InputError, match="expected the JSON of a tally"):
        Tally.from_json(text)


def total(rows) -> OperationCount:
    return reduce(lambda a, b: a + b, (row.own for row in rows), OperationCount())


def assert_adds_up(tally: Tally) -> None:
    for depth in (None, 1, 2, 3):
        rows = tally.rows(depth)
        assert total(rows) == tally.count
        assert sum(row.parameters for row in rows) == tally.parameters
        assert sum(row.bytes_read for row in rows) == tally.bytes_read
        assert sum(row.bytes_written for row in rows) == tally.bytes_written
        assert sum(row.own.total for row in rows) == tally.flops
    assert sum(tally.kinds.values()) == tally.flops
    assert reduce(lambda a, b: a + b, tally.by_operator().values(), OperationCount()) == tally.count
    assert reduce(lambda a, b: a + b, (layer.total for layer in tally.layers), OperationCount()) == tally.count


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    cell=st.sampled_from(["simple", "gru"]),
    shared=st.booleans(),
    recurrent=st.integers(1, 2),
    frames=st.integers(1, 50),
)
def test_rows_of_a_network_add_up(cell, shared, recurrent, frames) -> None:
    convolutions = (ConvolutionOptions(3, (5, 3), (2, 3)),)
    options = NetworkOptions(4, convolutions, recurrent, 5, cell, shared, frequencies=20)
    model = build_model(options, device="meta")
    tally = count(model, torch.empty(2, 20, frames, device="meta"), strict=True)
    assert_adds_up(tally)
    assert tally.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert Tally.from_json(tally.to_json()) == tally


@settings(max_examples=10, deadline=None, derandomize=True)
@given(widths=st.lists(st.integers(1, 6), min_size=2, max_size=4), data=st.data())
def test_rows_of_nested_modules_add_up(widths, data) -> None:
    model = nn.Sequential()
    for inputs, outputs in pairwise(widths):
        block = nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU())
        model.append(data.draw(st.sampled_from([block, nn.Sequential(block), nn.Linear(inputs, outputs)])))
    tally = count(model, torch.empty(3, widths[0], device="meta"), strict=True)
    assert_adds_up(tally)
    assert tally.macs == 3 * sum(a * b for a, b in pairwise(widths))
    assert tally.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_the_json_of_a_closed_formula_keeps_its_expressions() -> None:
    formula = count(nn.Conv1d(2, 3, 5, stride=3, padding=4), torch.empty(2, 2, 50), symbolic={"time": 2})
    again = Tally.from_json(formula.tally.to_json())
    assert again == formula.tally
    assert again.count == formula.tally.count
