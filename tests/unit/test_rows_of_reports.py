"""What a row of a report says: what is not counted, how often something ran, and the shapes of its results."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
import torch
from torch import nn

import deepspeech2
from deepspeech2.errors import InputError, OptionError
from deepspeech2.flops.counting import count, count_training
from deepspeech2.flops.tally import Tally
from deepspeech2.report.csv import render_csv
from deepspeech2.report.document import CountedInput, Report
from deepspeech2.report.hardware import Hardware
from deepspeech2.report.json import to_document
from deepspeech2.report.markdown import render_markdown
from deepspeech2.report.table import render_report


@torch.library.custom_op("rows_of_reports::strange", mutates_args=())
def strange(values: torch.Tensor) -> torch.Tensor:
    """An operator nobody has a formula for."""
    return values * 3


@strange.register_fake
def _(values: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(values)


class Strange(nn.Module):
    """A linear layer, and twice the operator without a formula."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, values: torch.Tensor) -> Any:
        return strange(strange(self.layer(values)))


class Shared(nn.Module):
    """One layer at two lengths, and one function on both results; a block that runs three times."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(8, 8)
        self.block = nn.Sequential(nn.Linear(8, 8), nn.Tanh())

    def forward(self, values: torch.Tensor) -> Any:
        short, long = torch.relu(self.shared(values[:, :4])), torch.relu(self.shared(values))
        return short, self.block(self.block(self.block(long)))


def report_of(tally: Tally, **options: Any) -> Report:
    return Report("mine", CountedInput(None, None, None), tally, **options)


def table_row(table: str, name: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"{name} "))
    return re.split(r"\s{2,}", line.strip())


def test_an_operator_without_a_formula_is_no_zero_in_any_form() -> None:
    """The layer computes 1 x 8 x 4 products; of what comes after it nothing is known."""
    report = report_of(count(Strange(), torch.zeros(1, 8)))
    table = render_report(report)
    assert table_row(table, "strange") == ["strange", "strange x2", "1x4", "?", "?", "?"]
    assert table_row(table, "total") == ["total", "36", ">= 32", ">= 64", "100.00%"]
    assert "computes nothing" not in table

    layer, unknown, total = csv.DictReader(io.StringIO(render_csv(report)))
    assert (unknown["macs"], unknown["operations"], unknown["multiply"], unknown["share"]) == ("", "", "", "")
    assert [row["unknown_calls"] for row in (layer, unknown, total)] == ["0", "2", "2"]
    assert [row["times"] for row in (layer, unknown, total)] == ["1", "2", ""]
    assert (layer["macs"], total["macs"]) == ("32", "32")

    markdown = render_markdown(report)
    assert "| strange | strange x2 | 1x4 | 0 | ? | ? | ? | ? |" in markdown
    assert "| total |  |  | 36 | >= 32 | >= 0 | >= 64 | 100.00% |" in markdown
    assert [row["unknown_calls"] for row in to_document(report)["layers"]] == [0, 2]


def test_every_figure_under_a_table_of_unknown_operators_is_a_lower_bound() -> None:
    hardware = Hardware(peak=1e9, bandwidth=1e9)
    table = render_report(report_of(count(Strange(), torch.zeros(1, 8)), hardware=hardware), width=200)
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in table.split("\n\n")[1].strip().splitlines())
    assert lines["total"] == ">= 64 FLOP (64), convention standard"
    assert lines["other conventions"] == "gemm >= 64 FLOP, mac >= 32 MAC, notebook >= 64 FLOP"
    assert lines["kinds"] == "multiply >= 32, add >= 32"
    assert ">= 0.2 FLOP per byte" in lines["memory traffic"]
    assert lines["least time"].startswith(">= ")
    assert "2 calls, at " in lines["not counted"]
    # Of the row: its bytes are known, its operations are not, so neither is what bounds it.
    assert table_row(table, "strange")[-3:] == ["?", ">= 64 ns", "?"]


def test_rows_that_are_summed_up_are_lower_bounds() -> None:
    model = nn.Sequential(Strange(), nn.ReLU())
    table = render_report(report_of(count(model, torch.zeros(1, 8)), depth=1))
    assert table_row(table, "0") == ["0", "Strange", "1x4", "36", ">= 32", ">= 64", "94.12%"]
    assert table_row(table, "1") == ["1", "relu", "1x4", "4", "5.88%"]


def test_one_call_is_one_call() -> None:
    table = render_report(report_of(count(strange, torch.zeros(3))))
    assert re.search(r"\(no formula\), 1 call, at", table)


def test_a_row_says_how_often_it_ran_and_that_its_results_differ() -> None:
    tally = count(Shared(), torch.zeros(1, 32, 8))
    table = render_report(report_of(tally))
    # 36 rows of 8 through 8 x 8 weights; three times 32, and their tanh, in the block; 288 maxima.
    share = f"{100 * 4608 / (4608 + 3 * (4096 + 256) + 288):.2f}%"
    assert table_row(table, "shared") == ["shared", "linear x2", "various", "72", "2.30 K", "4.61 K", share]
    assert table_row(table, "relu")[:3] == ["relu", "relu x2", "various"]
    assert table_row(table, "block.0")[:3] == ["block.0", "linear x3", "1x32x8"]
    assert table_row(render_report(report_of(tally, depth=1)), "block")[:3] == ["block", "Sequential x3", "1x32x8"]
    cells = {row["layer"]: row for row in csv.DictReader(io.StringIO(render_csv(report_of(tally))))}
    assert (cells["shared"]["times"], cells["shared"]["output_shape"]) == ("2", "various")
    assert (cells["block.1"]["times"], cells["block.1"]["output_shape"]) == ("3", "1x32x8")
    rows = {row["name"]: row for row in to_document(report_of(tally))["layers"]}
    shared = rows["shared"]
    assert (shared["times"], shared["shapes_differ"], shared["output_shape"]) == (2, True, [1, 32, 8])
    assert (rows["block.1"]["times"], rows["block.1"]["shapes_differ"]) == (3, False)


def test_a_training_step_runs_its_optimiser_once_and_a_checkpoint_is_no_second_run() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, values: torch.Tensor) -> Any:
            return torch.utils.checkpoint.checkpoint(self.layer, values, use_reentrant=False)

    tally = count_training(Checkpointed(), torch.zeros(2, 8, requires_grad=True))
    assert {row.phase: row.times for row in tally.rows() if row.operator in ("linear", "adam")} == {
        "forward": 1,
        "optimiser": 1,
    }


def test_a_formula_does_not_say_how_often_a_loop_ran() -> None:
    """That depends on the size, and only operations are a formula of it."""

    def loop(values: torch.Tensor) -> torch.Tensor:
        state = values[:, 0]
        for step in range(values.shape[1]):
            state = torch.tanh(state + values[:, step])
        return state

    at_fifty = count(loop, torch.zeros(2, 30, 4), symbolic={"time": 1}).tally_at(time=50)
    assert {row.operator: row.times for row in at_fifty.rows()} == {"add": 0, "tanh": 0}
    assert table_row(render_report(report_of(at_fifty)), "tanh")[1] == "tanh"


def test_what_rows_say_survives_json() -> None:
    for tally in (count(Strange(), torch.zeros(1, 8)), count(Shared(), torch.zeros(1, 32, 8))):
        assert Tally.from_json(tally.to_json()) == tally
    # A file written before rows said so.
    document = json.loads(count(Strange(), torch.zeros(1, 8)).to_json())
    for layer in document["layers"]:
        del layer["times"], layer["shapes_differ"], layer["unknown_calls"]
    assert [layer.times for layer in Tally.from_json(json.dumps(document)).layers] == [1, 1]


@pytest.mark.parametrize("convention", ["mac", "gemm"])
def test_no_column_is_there_twice(convention: str) -> None:
    table = render_report(report_of(count(nn.Linear(8, 4), torch.zeros(1, 8)), convention=convention))
    assert (
        re.split(r"\s{2,}", table.splitlines()[1].strip())[4:]
        == {
            "mac": ["MACs", "share"],
            "gemm": ["MACs", "FLOP", "share"],
        }[convention]
    )
    assert table_row(table, "Linear")[4:] == {"mac": ["32", "100.00%"], "gemm": ["32", "64", "100.00%"]}[convention]


def test_a_tally_prints_as_one_line_that_says_what_it_is() -> None:
    complete = count(nn.Linear(8, 400), torch.zeros(1, 8))
    assert str(complete) == (
        "6.40 KFLOP (6,400), 3.20 KMAC (3,200); every operator counted; deepspeech2.render_table(tally) shows the "
        "layers"
    )
    assert str(count(Strange(), torch.zeros(1, 8))) == (
        ">= 64 FLOP (64), >= 32 MAC (32); not counted: rows_of_reports::strange; deepspeech2.render_table(tally) shows "
        "the layers"
    )
    formula = count(nn.Linear(8, 4), torch.zeros(2, 8), symbolic={"batch": 0})
    assert str(formula.tally).startswith("64*batch FLOP, 32*batch MAC; every operator counted")


def test_a_table_of_a_tally_is_one_public_call() -> None:
    tally = count(Shared(), torch.zeros(1, 32, 8))
    text = deepspeech2.render_table(tally, convention="mac", depth=1, width=120)
    assert re.split(r"\s{2,}", text.splitlines()[0]) == [
        "layer",
        "operator",
        "output shape",
        "parameters",
        "MACs",
        "share",
    ]
    # 36 and three times 32 vectors of 8, through 8 x 8 weights each.
    assert table_row(text, "total") == ["total", "144", "8.45 K", "100.00%"]
    assert "8.45 KMAC (8,448), convention mac" in text
    assert 36 * 64 + 3 * 32 * 64 == 8448


def test_what_has_no_table_is_refused() -> None:
    formula = count(nn.Linear(8, 4), torch.zeros(2, 8), symbolic={"batch": 0})
    with pytest.raises(InputError, match="found ClosedForm"):
        deepspeech2.render_table(formula)
    with pytest.raises(InputError, match="tally_at"):
        deepspeech2.render_table(formula.tally)
    tally = formula.tally_at(batch=3)
    assert table_row(deepspeech2.render_table(tally), "Linear")[4:6] == ["96", "192"]
    with pytest.raises(OptionError, match="Did you mean 'mac'"):
        deepspeech2.render_table(tally, convention="macs")
    with pytest.raises(OptionError, match="at least 1"):
        deepspeech2.render_table(tally, depth=0)


def test_a_function_of_several_kernels_is_one_call() -> None:
    """A batch norm makes an empty tensor for its statistics first; a recurrence its initial state."""
    model = nn.Sequential(nn.BatchNorm1d(4), nn.LSTM(8, 8)).eval()
    for row in count(model, torch.zeros(2, 4, 8)).rows():
        assert (row.operator, row.times, row.shapes_differ) in {("batch_norm", 1, False), ("lstm", 1, False)}
        assert row.calls > 1

    def twice(values: torch.Tensor) -> torch.Tensor:
        first = nn.functional.batch_norm(values, torch.zeros(4), torch.ones(4))
        return nn.functional.batch_norm(first[:1], torch.zeros(4), torch.ones(4))

    (row,) = (row for row in count(twice, torch.zeros(2, 4, 8)).rows() if row.operator == "batch_norm")
    assert (row.times, row.shapes_differ) == (2, True)
