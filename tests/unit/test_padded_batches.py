"""Padded batches of DeepSpeech2: its recurrences count the valid frames, everything else the padding, too."""

from collections import Counter
from functools import cache

import pytest
import torch

from deepspeech2 import build_model, count, count_onnx, count_training, optimize_for_inference
from deepspeech2.errors import InputError
from deepspeech2.flops.operations import OperationCount, total_of
from deepspeech2.flops.tally import Tally
from deepspeech2.report.document import CountedInput, Report
from deepspeech2.report.json import to_document
from deepspeech2.report.table import render_report
from deepspeech2.speech.onnx_export import export_onnx, export_program
from deepspeech2.speech.options import NetworkOptions, published_convolutions

SIZE, LAYERS = 8, 2
KINDS = {
    "shared": NetworkOptions(recurrent_size=SIZE, recurrent_layers=LAYERS),
    "separate": NetworkOptions(recurrent_size=SIZE, recurrent_layers=LAYERS, shared=False),
    "gru": NetworkOptions(
        recurrent_size=SIZE, recurrent_layers=LAYERS, cell="gru", convolutions=published_convolutions(1)
    ),
}
kinds = pytest.mark.parametrize("kind", KINDS)
GATES = {"shared": 1, "separate": 1, "gru": 3}
FRAMES = [90, 31, 4, 1]
# (frames - 1) // 3 + 1
OUTPUT_FRAMES = [30, 11, 2, 1]
PADDING = sum(30 - length for length in OUTPUT_FRAMES)


@cache
def network(kind):
    return build_model(KINDS[kind], seed=0).eval()


def batch_of(frames):
    return torch.empty(len(frames), 161, max(frames), device="meta"), torch.tensor(frames)


def recurrences(tally, phase="forward"):
    rows = [row for row in tally.rows() if row.phase == phase and row.operator.startswith(("simple_", "gru_"))]
    assert rows
    return total_of(row.own for row in rows)


def other_rows(tally):
    return [row.own for row in tally.rows() if not row.operator.startswith(("simple_", "gru_"))]


def products_of_padding(kind):
    """Multiply-accumulates of the recurrent products that padding does not take."""
    return LAYERS * 2 * GATES[kind] * SIZE**2 * PADDING


@kinds
def test_a_recurrence_is_the_sum_of_its_utterances(kind) -> None:
    together = count(network(kind), batch_of(FRAMES))
    alone = [recurrences(count(network(kind), batch_of([frames]))) for frames in FRAMES]
    assert recurrences(together) == total_of(alone)
    whole = count(network(kind), batch_of([90] * 4))
    assert whole.macs - together.macs == products_of_padding(kind)
    assert other_rows(whole) == other_rows(together)
    assert together.notes == whole.notes == ()


@kinds
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_networks_made_for_inference_too(kind, weights) -> None:
    ready = optimize_for_inference(network(kind), weights)
    whole, padded = (count(ready, batch_of(frames)) for frames in ([90] * 4, FRAMES))
    assert whole.macs - padded.macs == products_of_padding(kind)
    assert other_rows(whole) == other_rows(padded)


@kinds
def test_a_training_step(kind) -> None:
    """The product of a frame comes back twice in its gradient: for the state before and for the weight."""
    whole, padded = (count_training(network(kind), batch_of(frames)) for frames in ([90] * 4, FRAMES))
    assert whole.phase("forward").macs - padded.phase("forward").macs == products_of_padding(kind)
    assert whole.phase("backward").macs - padded.phase("backward").macs == 2 * products_of_padding(kind)
    assert whole.phase("optimiser") == padded.phase("optimiser")
    assert other_rows(whole) == other_rows(padded)


def test_a_training_step_of_the_simple_recurrence_by_hand() -> None:
    """A frame of padding more or less, of one direction of size n, changes each kind by the same number."""
    n, runs = SIZE, 2 * LAYERS
    whole, padded = (count_training(network("shared"), batch_of(frames)) for frames in ([90] * 4, FRAMES))
    # Forward: bias, product and clip; backward: product, clip, outer product and bias.
    forward = Counter(multiply=n * n, add=n * n + n, compare=2 * n)
    backward = Counter(multiply=2 * n * n, add=2 * n * n + n, compare=2 * n)
    for phase, each in (("forward", forward), ("backward", backward)):
        saved = recurrences(whole, phase) + recurrences(padded, phase) * -1
        assert {kind: amount for kind, amount in saved.kinds.items() if amount} == {
            kind: amount * runs * PADDING for kind, amount in each.items()
        }


@kinds
def test_exported_programs_agree(kind, tmp_path) -> None:
    path = tmp_path / "network.pt2"
    export_program(network(kind), path)
    program = torch.export.load(path)
    for frames in ([90] * 4, FRAMES):
        expected = count(network(kind), batch_of(frames))
        found = count(program, batch_of(frames))
        assert (found.macs, recurrences(found)) == (expected.macs, recurrences(expected))


@kinds
def test_onnx_graphs_agree_on_the_products_of_padding(kind, tmp_path) -> None:
    """There a layer holds its input's projection, which takes no padding either: as many products as it has inputs."""
    path = tmp_path / "network.onnx"
    export_onnx(network(kind), path)
    whole, padded = (count_onnx(path, batch_of(frames)).macs for frames in ([90] * 4, FRAMES))
    inputs = KINDS[kind].sequence_size + (LAYERS - 1) * 2 * SIZE
    projections = 2 * GATES[kind] * SIZE * inputs * PADDING
    assert whole - padded == products_of_padding(kind) + projections


def test_utterances_without_a_frame_cost_a_recurrence_nothing() -> None:
    none = count_training(network("gru"), batch_of([90, 0]))
    one = count_training(network("gru"), (torch.empty(1, 161, 90, device="meta"), torch.tensor([90])))
    for phase in ("forward", "backward"):
        assert recurrences(none, phase) == recurrences(one, phase)
    empty = count_training(network("gru"), (torch.empty(2, 161, 90, device="meta"), torch.tensor([0, 0])))
    assert recurrences(empty) == recurrences(empty, "backward") == OperationCount()


def test_lengths_that_are_not_known_count_every_frame_and_say_so() -> None:
    features, frames = batch_of(FRAMES)
    unknown = count(network("shared"), (features, frames.to("meta")))
    assert unknown.count == count(network("shared"), batch_of([90] * 4)).count
    (note,) = unknown.notes
    assert "lengths of utterances are not known" in note
    assert Tally.from_json(unknown.to_json()) == unknown
    report = Report("network", CountedInput(None, None, None), unknown)
    assert note in " ".join(render_report(report).split())
    assert to_document(report)["notes"] == [note]
    assert not count(network("shared"), features).notes


@pytest.mark.parametrize("symbolic", [{"batch": ..., "time": ...}, {"time": [(0, 2)]}, {"batch": ...}])
def test_a_formula_is_of_utterances_of_one_length_and_says_so(symbolic) -> None:
    sizes = {name: size for name, size in {"batch": 4, "time": 90}.items() if name in symbolic}
    even = count(network("shared"), batch_of([90] * 4), symbolic=symbolic)
    padded = count(network("shared"), batch_of(FRAMES), symbolic=symbolic)
    expected = count(network("shared"), batch_of([90] * 4)).flops
    assert even.at(**sizes) == padded.at(**sizes) == expected
    assert even.flops == padded.flops
    assert "utterances of one length" in even.notes[0]
    assert even.notes[0] in even.python()
    assert even.notes[0] == padded.notes[0]
    assert len(even.notes) == 1
    assert f"{count(network('shared'), batch_of(FRAMES)).flops:,}" in padded.notes[1]


def test_a_formula_in_time_alone_is_of_longer_utterances_too() -> None:
    formula = count(network("shared"), batch_of([90] * 4), symbolic={"time": [(0, 2)]})
    assert formula.at(time=600) == count(network("shared"), batch_of([600] * 4)).flops
    assert formula.at(time=1) == count(network("shared"), batch_of([1] * 4)).flops


def test_lengths_that_do_not_fit_are_refused() -> None:
    features, _ = batch_of([90, 90])
    with pytest.raises(InputError, match=r"a length of 0 to 30 frames for each of 2 utterances, found \[30, 31\]"):
        count(network("shared"), (features, torch.tensor([90, 93])))
