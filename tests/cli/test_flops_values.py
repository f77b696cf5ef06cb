"""`ds2 flops --shape`: lengths and masks that decide what a program computes have values."""

import json

import pytest
import torch

from deepspeech2.cli.main import main

MODELS = """
import torch
from torch import nn


class Cut(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 4, bias=False)

    def forward(self, x, lengths):
        return self.layer(x[:, : int(lengths.max())])


class CutByAny(Cut):
    def forward(self, x, lengths):
        return self.layer(x[:, : int(lengths[0])])


class Attends(nn.Module):
    def forward(self, x, mask):
        return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).train()
"""


@pytest.fixture
def models(own_module) -> str:
    own_module("models_asking", MODELS)
    return "models_asking"


def macs(capsys, *arguments) -> int:
    main(["flops", *arguments, "--format", "json"])
    return json.loads(capsys.readouterr().out)["total"]["macs"]


def refusal(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["flops", *arguments])
    output = capsys.readouterr()
    assert stop.value.code == 2
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err


@pytest.mark.parametrize("length", [3, 7])
def test_a_length_decides_how_many_rows_are_multiplied(capsys, models, length) -> None:
    shapes = ["--shape", "2,10,8", "--shape", f"2:int64={length}"]
    assert macs(capsys, f"{models}:Cut()", *shapes) == 2 * length * 8 * 4
    named = ["--shape", "x=2,10,8", "--shape", f"lengths=2:int32={length}"]
    assert macs(capsys, f"{models}:Cut()", *named) == 2 * length * 8 * 4


@pytest.mark.parametrize(("value", "pairs"), [(0, 0), (1, 5 * 5)])
def test_a_mask_of_ones_lets_every_pair_meet_and_one_of_zeros_none(capsys, models, value, pairs) -> None:
    """Two heads of width 4: scores and mixing."""
    shapes = ["--shape", "1,2,5,4", "--shape", f"5,5:bool={value}"]
    assert macs(capsys, f"{models}:Attends()", *shapes) == 2 * 2 * 4 * pairs


def test_without_a_value_the_refusal_says_how_to_give_one_and_that_works(capsys, models) -> None:
    """The encoder asks its mask whether it is causal. Its products: four projections, attention, two layers of 16."""
    arguments = [f"{models}:encoder", "--shape", "src=1,5,8", "--shape"]
    message = refusal(capsys, *arguments, "mask=5,5:bool")
    assert "give the input a value: --shape mask=5,5:bool=VALUE" in message
    assert macs(capsys, *arguments, "mask=5,5:bool=0") == 5 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 5 * 5 * 8
    message = refusal(capsys, f"{models}:Cut()", "--shape", "2,10,8", "--shape", "2:int64")
    assert "give the input a value: --shape 2:int64=VALUE" in message
    message = refusal(capsys, f"{models}:Cut()", "--shape", "2,10,8", "--shape", "2:int64", "--formula", "text")
    assert "give the input a value: --shape 2:int64=VALUE" in message
    message = refusal(capsys, f"{models}:Cut()", "--shape", "2,10,8", "--shape", "2:int64=4", "--formula", "text")
    assert "count this program without --formula" in message


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ("2:float32=3", "a value is for integers and bool"),
        ("2:bool=2", "a value from 0 to 1"),
        ("2:int8=300", "a value from -128 to 127"),
        ("2:uint64=-1", "a value from 0 to 18446744073709551615"),
        ("2000,2000:bool=1", "values of at most 1,048,576 elements"),
        ("2=3", "expected sizes"),
        ("2:int64=", "expected sizes"),
    ],
)
def test_values_that_cannot_be_given(capsys, models, shape, words) -> None:
    assert words in refusal(capsys, f"{models}:Cut()", "--shape", "2,10,8", "--shape", shape)


NOT_REAL_NUMBERS = sorted(
    {
        str(dtype).removeprefix("torch.")
        for dtype in vars(torch).values()
        if isinstance(dtype, torch.dtype) and not dtype.is_floating_point and not dtype.is_complex
    }
)


def fills(name: str) -> bool:
    try:
        return torch.full((2,), 1, dtype=getattr(torch, name)).tolist() == [1, 1]
    except RuntimeError:  # NotImplementedError among them
        return False


@pytest.mark.filterwarnings("ignore:torch.quantize")
@pytest.mark.parametrize("name", NOT_REAL_NUMBERS)
def test_every_dtype_that_torch_fills_takes_a_value_and_others_are_refused_in_a_line(capsys, models, name) -> None:
    """One row of eight features, four results of each."""
    shapes = ["--shape", "2,10,8", "--shape", f"2:{name}=1"]
    if fills(name):
        assert macs(capsys, f"{models}:CutByAny()", *shapes) == 2 * 1 * 8 * 4
    else:
        message = refusal(capsys, f"{models}:CutByAny()", *shapes)
        assert (
            f"a value is for bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64; torch fills no {name},"
            in message
        )
