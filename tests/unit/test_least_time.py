"""The least time on a device: the larger of operations / peak and bytes / bandwidth of each row, and their sum."""

import csv
import io
import json

import pytest
import torch
from torch import nn

from deepspeech2 import count
from deepspeech2.cli.main import main
from deepspeech2.errors import OptionError
from deepspeech2.report.csv import render_csv
from deepspeech2.report.document import CountedInput, Report
from deepspeech2.report.hardware import Hardware, LeastTime, least_times, total_time
from deepspeech2.report.json import to_document
from deepspeech2.report.table import render_report


def layers():
    """64 x 256 to 512, a rectifier, to 8."""
    return nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 8))


# By hand: 64 rows; a product of n with a bias is n multiplications and n additions per output.
OPERATIONS = [64 * 512 * 2 * 256, 64 * 512, 64 * 8 * 2 * 512]
BYTES = [
    4 * (64 * 256 + 256 * 512 + 512 + 64 * 512),
    4 * (2 * 64 * 512),
    4 * (64 * 512 + 512 * 8 + 8 + 64 * 8),
]


def report(hardware, depth=None, seconds=None):
    tally = count(layers(), torch.empty(64, 256))
    return Report("m", CountedInput(seconds, None, None), tally, depth=depth, hardware=hardware)


def test_a_row_takes_the_larger_of_the_two() -> None:
    """At a ridge of 8: the first layer has 25.9 operations a byte, the others 0.1 and 3.5."""
    hardware = Hardware(peak=8e9, bandwidth=1e9)
    times = least_times(count(layers(), torch.empty(64, 256)), hardware)
    assert times == [
        LeastTime(compute=OPERATIONS[0] / 8e9),
        LeastTime(memory=BYTES[1] / 1e9),
        LeastTime(memory=BYTES[2] / 1e9),
    ]
    assert [time.bound for time in times] == ["compute", "memory", "memory"]
    assert total_time(times).seconds == pytest.approx(sum(time.seconds for time in times))


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers(), nn.Sequential(layers(), nn.Linear(8, 256))

    def forward(self, x):
        return self.second(x + 1) + self.first(x)[:, :1]


@pytest.mark.parametrize("depth", [1, 2, None])
def test_rows_that_are_summed_up_take_what_theirs_take(depth) -> None:
    """Not the larger of the sums, which would be less."""
    tally, hardware = count(Blocks(), torch.empty(64, 256)), Hardware(8e9, 1e9)
    times = least_times(tally, hardware, depth)
    assert len(times) == len(tally.rows(depth))
    assert total_time(times).seconds == pytest.approx(sum(t.seconds for t in least_times(tally, hardware)))
    rough = max(float(tally.flops) / 8e9, float(tally.bytes_read + tally.bytes_written) / 1e9)
    assert total_time(times).seconds > rough


def test_every_form_says_the_same_and_nothing_without_a_hardware() -> None:
    hardware = Hardware(8e9, 1e9)
    plain, timed = to_document(report(None)), to_document(report(hardware, seconds=2.0))
    assert "hardware" not in plain
    assert set(timed) - set(plain) == {"hardware"}
    added = {"least_seconds", "compute_bound_seconds", "memory_bound_seconds", "bound"}
    assert set(timed["layers"][0]) - set(plain["layers"][0]) == added
    whole = timed["hardware"]
    assert whole["least_seconds"] == pytest.approx(sum(row["least_seconds"] for row in timed["layers"]))
    assert whole["real_time_factor"] == pytest.approx(whole["least_seconds"] / 2.0)
    assert whole["ridge"] == 8.0
    rows = list(csv.DictReader(io.StringIO(render_csv(report(hardware)))))
    assert float(rows[-1]["least_seconds"]) == pytest.approx(whole["least_seconds"])
    assert int(rows[-1]["bytes"]) == sum(BYTES)
    assert "bytes" not in csv.DictReader(io.StringIO(render_csv(report(None)))).fieldnames
    table = render_report(report(hardware))
    assert "bound" in table.splitlines()[1]
    assert "(below 8.0 FLOP per byte)" in " ".join(table.split())
    assert "bound" not in render_report(report(None))


def test_the_command_bounds_the_real_time_factor_of_the_published_model(capsys) -> None:
    """37.0 GFLOP at 150 GFLOP/s: a quarter of a second for ten, and what memory adds."""
    main(["flops", "librispeech", "--peak", "150e9", "--bandwidth", "26e9", "--format", "json"])
    document = json.loads(capsys.readouterr().out)
    assert document["hardware"]["bound"] == "compute"
    assert document["hardware"]["least_seconds"] > document["total"]["flops"] / 150e9
    assert 0.0246 < document["hardware"]["real_time_factor"] < 0.0252


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--peak", "1e9"], ["--peak alone", "--bandwidth"]),
        (["--bandwidth", "1e9"], ["--bandwidth alone", "--peak"]),
        (["--peak", "0", "--bandwidth", "1"], ["--peak must be a positive", "FLOP/s"]),
        (["--peak", "1", "--bandwidth", "nan"], ["--bandwidth must be a positive", "bytes/s"]),
        (["--peak", "1", "--bandwidth", "1", "--formula", "text"], ["--formula prints symbols"]),
    ],
)
def test_half_a_hardware_is_refused_in_a_line(capsys, arguments, words) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["flops", "default", *arguments])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1
    for word in words:
        assert word in error


def test_rates_are_numbers_above_zero() -> None:
    with pytest.raises(OptionError, match="--bandwidth must be a positive number of bytes/s"):
        Hardware(1.0, -1.0)
