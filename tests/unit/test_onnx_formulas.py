"""Closed formulas of ONNX files: what they say, that they hold at other sizes, and what is refused."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from deepspeech2 import count_onnx
from deepspeech2.errors import ClosedFormError, InputError, OptionError
from tests.onnx_cases import graph, model, value, weight

NAMES = {"batch": ..., "time": ...}


def saved(tmp_path, *args, **kwargs):
    path = tmp_path / "model.onnx"
    onnx.save(model(*args, **kwargs), path)
    return path


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs, outputs, name=kind, **attributes)


def recurrent(kind, gates):
    weights = [weight("w", 1, gates * 6, 4), weight("r", 1, gates * 6, 6)]
    return [node(kind, ["x", "w", "r"], ["y"], hidden_size=6)], weights


# Multiply-accumulates in batch B and time T, by hand.
GRAPHS = {
    "matmul": ([node("MatMul", ["x", "w"], ["y"])], [weight("w", 4, 5)], ["time", "batch", 4], lambda b, t: b * t * 20),
    "scores": (
        [node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]), node("MatMul", ["x", "turned"], ["y"])],
        [],
        ["batch", "time", 4],
        lambda b, t: b * t * t * 4,
    ),
    "strided convolution": (
        [node("Conv", ["x", "w"], ["y"], strides=[2], pads=[1, 1])],
        [weight("w", 5, 4, 3)],
        ["batch", 4, "time"],
        lambda b, t: b * ((t - 1) // 2 + 1) * 60,
    ),
    "RNN": (*recurrent("RNN", 1), ["time", "batch", 4], lambda b, t: b * t * 60),
    "GRU": (*recurrent("GRU", 3), ["time", "batch", 4], lambda b, t: b * t * 180),
    "LSTM": (*recurrent("LSTM", 4), ["time", "batch", 4], lambda b, t: b * t * 240),
}


@pytest.mark.parametrize(("nodes", "weights", "shape", "by_hand"), GRAPHS.values(), ids=GRAPHS.keys())
def test_free_axes_are_symbols(tmp_path, nodes, weights, shape, by_hand) -> None:
    path = saved(tmp_path, nodes, {"x": shape}, weights=weights)
    formula = count_onnx(path, symbolic=NAMES, strict=True)
    for batch, time in [(1, 24), (3, 37), (2, 100), (7, 1000), (5, 41), (1, 26)]:
        assert formula.at("mac", batch=batch, time=time) == by_hand(batch, time)
    # An hour, without going through the graph again.
    even = formula.at("mac", batch=1, time=360_000)
    assert even == by_hand(1, 360_000)


def test_a_scan_over_time_is_a_formula(tmp_path) -> None:
    body = graph(
        [helper.make_node("MatMul", ["h", "u"], ["p"]), helper.make_node("Add", ["p", "s"], ["n"])],
        [value("h", ["batch", 6]), value("s", ["batch", 6])],
        [value("n", ["batch", 6]), value("n", ["batch", 6])],
        [weight("u", 6, 6)],
    )
    outputs = ["last", "y"]
    scan = helper.make_node("Scan", ["h0", "x"], outputs, name="scan", body=body, num_scan_inputs=1)
    path = saved(tmp_path, [scan], {"h0": ["batch", 6], "x": ["time", "batch", 6]}, outputs=outputs)
    formula = count_onnx(path, symbolic=NAMES)
    assert formula.at("mac", batch=3, time=1000) == 3 * 1000 * 36
    assert formula.tally_at(batch=3, time=50).kinds["add"] == 3 * 50 * (6 * 5 + 6)


def test_a_loop_as_long_as_its_input_is_a_formula(tmp_path) -> None:
    body = graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("MatMul", ["h", "u"], ["n"])],
        [value("i", [], 7), value("go", [], 9), value("h", ["batch", 6])],
        [value("on", [], 9), value("n", ["batch", 6])],
        [weight("u", 6, 6)],
    )
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "first"], ["trips"]),
        helper.make_node("Loop", ["trips", "", "h0"], ["y"], name="loop", body=body),
    ]
    first = weight("first", dtype=np.int64, value=0)
    path = saved(tmp_path, nodes, {"h0": ["batch", 6], "x": ["time", 2]}, weights=[first])
    assert count_onnx(path, symbolic=NAMES).at("mac", batch=2, time=77) == 2 * 77 * 36


def test_axes_can_be_named_by_place_and_others_take_what_is_given(tmp_path) -> None:
    nodes, weights, shape, _ = GRAPHS["scores"]
    path = saved(tmp_path, nodes, {"x": shape}, weights=weights)
    formula = count_onnx(path, [(3, 50, 4)], symbolic={"length": [("x", 1)]})
    assert str(formula.macs) == "12*length**2"
    assert "operations(length)" in formula.python("mac")
    *comments, latex = formula.latex("mac").splitlines()
    assert latex == r"12 length^{2} \quad \text{for } length \geq 24"
    assert comments[0] == "% length is axis 1 of input x; other sizes as in the example"


def test_what_is_no_formula_is_refused(tmp_path) -> None:
    nodes, weights, _, _ = GRAPHS["matmul"]
    fixed = saved(tmp_path, nodes, {"x": [2, 3, 4]}, weights=weights)
    with pytest.raises(OptionError, match="no free axis"):
        count_onnx(fixed, symbolic={})
    nameless = saved(tmp_path, nodes, {"x": [None, "batch", 4]}, weights=weights)
    with pytest.raises(InputError, match="without a name or a size"):
        count_onnx(nameless, symbolic={"batch": ...})
    # Sorting grows as n log n.
    sort = [helper.make_node("TopK", ["x", "k"], ["y", "i"])]
    path = saved(tmp_path, sort, {"x": ["batch", "time"]}, ("y", "i"), weights=[weight("k", dtype=np.int64, value=[2])])
    with pytest.raises(ClosedFormError, match="time"):
        count_onnx(path, symbolic=NAMES)


def test_a_formula_says_that_it_leaves_the_lengths_of_its_example_out(tmp_path) -> None:
    nodes = [node("LSTM", ["x", "w", "r", "", "lengths"], ["y"], hidden_size=6)]
    shapes = {"x": ["time", "batch", 4], "lengths": (["batch"], onnx.TensorProto.INT32)}
    path = saved(tmp_path, nodes, shapes, weights=[weight("w", 1, 24, 4), weight("r", 1, 24, 6)])
    inputs = {"x": (50, 2, 4), "lengths": torch.tensor([10, 30], dtype=torch.int32)}
    assert count_onnx(path, inputs).macs == (10 + 30) * 240
    formula = count_onnx(path, inputs, symbolic=NAMES)
    assert formula.at("mac", batch=2, time=50) == 2 * 50 * 240
    (note,) = formula.notes
    assert note.startswith("values of the inputs are no part of the formula")
    whole = count_onnx(path, inputs | {"lengths": torch.tensor([50, 50], dtype=torch.int32)}, symbolic=NAMES)
    assert whole.notes == ()
