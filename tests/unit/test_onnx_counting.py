"""Counting ONNX graphs made by hand; every expected number is derived in the test's docstring."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from deepspeech2 import count_onnx, register_formula
from deepspeech2.errors import CheckpointError, InputError, UncountedOperatorError
from deepspeech2.flops.onnx_graphs import reading
from deepspeech2.flops.operations import OperationCount
from onnx_cases import graph, model, value, weight

node = helper.make_node


@pytest.fixture
def counted(tmp_path):
    def count(proto, inputs=None, **options):
        onnx.save(proto, tmp_path / "model.onnx")
        return count_onnx(tmp_path / "model.onnx", inputs, **options)

    return count


def kinds(tally):
    return {kind: number for kind, number in tally.kinds.items() if number}


def test_gemm_with_scales_and_bias(counted) -> None:
    """Y = 2 * A B + 0.5 * C, A 3 x 4, B 4 x 5: 60 products + 2 * 15 scales; 15 * 3 sums + 15 for C."""
    gemm = node("Gemm", ["x", "w", "b"], ["y"], alpha=2.0, beta=0.5, transB=1)
    tally = counted(model([gemm], {"x": [3, 4]}, weights=[weight("w", 5, 4), weight("b", 5)]))
    assert kinds(tally) == {"multiply": 90, "add": 60}
    assert (tally.macs, tally.parameters) == (60, 25)


def test_convolution_with_groups_dilation_and_uneven_padding(counted) -> None:
    """Input 2 x 4 x 10, kernel 3, dilation 2, pads (1, 2), stride 2: (10 + 3 - 5) // 2 + 1 = 5 positions.

    8 channels from 2 each: 2 * 8 * 5 = 80 outputs of 6 products. Tap j of output o reads 2 o + 2 j - 1: tap 0 is
    outside for o = 0 (-1), tap 1 never (1 ... 9), tap 2 for o = 4 (11): 13 of 15 inside, 2 * 8 * 2 * 2 = 64 outside.
    """
    conv = node("Conv", ["x", "w", "b"], ["y"], group=2, dilations=[2], strides=[2], pads=[1, 2])
    tally = counted(model([conv], {"x": [2, 4, 10]}, weights=[weight("w", 8, 2, 3), weight("b", 8)]))
    assert kinds(tally) == {"multiply": 480, "add": 480}
    assert (tally.macs, tally.padding_macs, tally.parameters) == (480, 64, 56)


@pytest.mark.parametrize(("mode", "outputs"), [("SAME_UPPER", 5), ("SAME_LOWER", 5), ("VALID", 4)])
def test_automatic_padding(counted, mode, outputs) -> None:
    """10 wide, kernel 3, stride 2: SAME gives 5 positions and (5 - 1) * 2 + 3 - 10 = 1 tap outside; VALID 4 and 0."""
    conv = node("Conv", ["x", "w"], ["y"], strides=[2], auto_pad=mode)
    tally = counted(model([conv], {"x": [1, 1, 10]}, weights=[weight("w", 1, 1, 3)]))
    assert (tally.macs, tally.padding_macs) == (3 * outputs, 0 if mode == "VALID" else 1)


def test_transposed_convolution(counted) -> None:
    """Input 1 x 4 x 5, weight 4 x 3 x 3: each of 20 elements times 3 channels times 3 taps = 180, each added.

    Pads (1, 1) crop one product at either end for 4 * 3 channel pairs; the result has 2 * 4 + 3 - 2 = 9 positions
    and the bias adds 3 * 9, as the scatter's accumulators have it.
    """
    conv = node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2], pads=[1, 1])
    tally = counted(model([conv], {"x": [1, 4, 5]}, weights=[weight("w", 4, 3, 3), weight("b", 3)]))
    assert kinds(tally) == {"multiply": 180, "add": 180 + 27}
    assert (tally.macs, tally.padding_macs) == (180, 24)


def test_broadcast_matmul(counted) -> None:
    """(2, 1, 3, 4) times (5, 4, 6): 2 * 5 * 3 * 6 = 180 dot products of 4."""
    tally = counted(model([node("MatMul", ["a", "b"], ["y"])], {"a": [2, 1, 3, 4], "b": [5, 4, 6]}))
    assert kinds(tally) == {"multiply": 720, "add": 540}


@pytest.mark.parametrize(
    ("equation", "shapes", "macs", "additions"),
    [
        # 2 * 3 * 5 dot products of 4
        ("bij,bjk->bik", [[2, 3, 4], [2, 4, 5]], 120, 90),
        # the second operand is summed over k (3 * 4 results of 5) before 2 dot products of 12
        ("ij,bijk->b", [[3, 4], [2, 3, 4, 5]], 24, 2 * 12 * 4 + 2 * 11),
        # (2 x 3)(3 x 4) first: 8 of 3; then (2 x 4)(4 x 5): 10 of 4
        ("ij,jk,kl->il", [[2, 3], [3, 4], [4, 5]], 64, 16 + 30),
        # an ellipsis broadcasts 1 against 7
        ("...ij,...jk", [[7, 2, 3], [1, 3, 2]], 84, 56),
        # one operand, a trace-free sum: 6 numbers into 2
        ("ij->i", [[2, 3]], 0, 4),
    ],
)
def test_einsum(counted, equation, shapes, macs, additions) -> None:
    """Contracted from left to right, two operands at a time."""
    names = [f"x{index}" for index in range(len(shapes))]
    tally = counted(
        model([node("Einsum", names, ["y"], equation=equation)], dict(zip(names, shapes, strict=True)), opset=13)
    )
    assert (tally.macs, tally.kinds["add"]) == (macs, additions)
    assert tally.complete


def recurrent(kind, gates, *, directions=1, bias=True, lengths=None, **options):
    """A layer from 3 inputs to 4 states over 7 steps of 2 samples."""
    weights = [weight("w", directions, gates * 4, 3), weight("r", directions, gates * 4, 4)]
    if bias:
        weights.append(weight("b", directions, 2 * gates * 4))
    if lengths is not None:
        weights.append(weight("n", 2, dtype=np.int32, value=lengths))
    inputs = ["x", "w", "r", "b" if bias else "", "n" if lengths is not None else ""]
    if directions == 2:
        options["direction"] = "bidirectional"
    layer = node(kind, inputs, ["y"], hidden_size=4, **options)
    return model([layer], {"x": [7, 2, 3]}, weights=weights)


def test_rnn(counted) -> None:
    """56 cells (7 * 2 * 4): products 3 + 4; sums 2 + 3 and two biases, the sum of both parts; one tanh."""
    tally = counted(recurrent("RNN", 1))
    assert kinds(tally) == {"multiply": 56 * 7, "add": 56 * 8, "tanh": 56}
    assert tally.parameters == 12 + 16 + 8


def test_clipped_rnn_in_both_directions(counted) -> None:
    """Per cell: a comparison of Relu and two of the clip, twice."""
    tally = counted(recurrent("RNN", 1, directions=2, activations=["Relu", "Relu"], clip=24.0))
    assert kinds(tally) == {"multiply": 2 * 56 * 7, "add": 2 * 56 * 8, "compare": 2 * 56 * 3}


@pytest.mark.parametrize("before", [0, 1])
def test_gru(counted, before) -> None:
    """Three gates of 7 products and 7 sums (two biases); 3 sums of parts; r * h, n + z * (h - n); 2 sigmoids, tanh.

    A sigmoid is two additions, an exponential and a division. Resetting after the product changes no number.
    """
    tally = counted(recurrent("GRU", 3, linear_before_reset=before))
    assert kinds(tally) == {
        "multiply": 56 * (21 + 2),
        "add": 56 * (21 + 3 + 2 + 4),
        "exp": 112,
        "divide": 112,
        "tanh": 56,
    }


def test_lstm_with_peepholes_without_biases(counted) -> None:
    """Four gates of 7 products and 5 sums; 4 sums of parts, c = f c + i g, h = o tanh(c); peepholes 3 and 3."""
    proto = recurrent("LSTM", 4, bias=False)
    proto.graph.initializer.append(weight("p", 1, 12))
    proto.graph.node[0].input.extend(["", "", "p"])
    assert kinds(counted(proto)) == {
        "multiply": 56 * (28 + 3 + 3),
        "add": 56 * (20 + 4 + 1 + 3 + 6),
        "exp": 168,
        "divide": 168,
        "tanh": 112,
    }


def test_known_lengths_are_counted_instead_of_steps(counted) -> None:
    """Lengths 7 and 3: 10 of 14 steps."""
    assert counted(recurrent("GRU", 3, lengths=[7, 3])).macs == 10 * 4 * 3 * 7


def test_scan_is_counted_once_for_each_slice(counted) -> None:
    """A running sum of 6 rows of 4, each times 2: 24 additions, 24 multiplications, 6 calls of each."""
    body = graph(
        [node("Add", ["s", "row"], ["s2"], name="add"), node("Mul", ["s2", "two"], ["out"], name="mul")],
        [value("s", [4]), value("row", [4])],
        [value("s2", [4]), value("out", [4])],
    )
    scan = node("Scan", ["s0", "x"], ["final", "y"], name="scan", body=body, num_scan_inputs=1)
    neg = node("Neg", ["y"], ["z"])
    tally = counted(
        model([scan, neg], {"x": [6, 4]}, outputs=["z"], weights=[weight("s0", 4), weight("two", value=2.0)])
    )
    assert kinds(tally) == {"multiply": 24, "add": 24 + 24}
    assert [(layer.calls, layer.times) for _, layer in tally.walk() if layer.operator == "Mul"] == [(6, 6)]


def loop(condition, body_nodes, **options):
    body = graph(
        [node("Identity", [condition], ["go_on"]), *body_nodes],
        [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), helper.make_empty_tensor_value_info("s")],
        [value("go_on", [], TensorProto.BOOL), helper.make_empty_tensor_value_info("s2")],
    )
    return node("Loop", ["trips", "", "x"], ["y"], name="loop", body=body, **options)


TRIPS = weight("trips", value=5, dtype=np.int64)


def test_loop_is_counted_by_its_trip_count(counted) -> None:
    """5 iterations of 4 additions; the weight of the outer graph is one parameter vector."""
    proto = model([loop("c", [node("Add", ["s", "w"], ["s2"])])], {"x": [4]}, weights=[TRIPS, weight("w", 4)])
    tally = counted(proto)
    assert kinds(tally) == {"add": 20}
    assert (tally.complete, tally.parameters) == (True, 4)


def test_loop_whose_value_grows_is_counted_iteration_by_iteration(counted) -> None:
    """Doubling 4 numbers 5 times and negating after each: 8 + 16 + 32 + 64 + 128."""
    doubled = [node("Concat", ["s", "s"], ["d"], axis=0), node("Neg", ["d"], ["s2"])]
    assert kinds(counted(model([loop("c", doubled)], {"x": [4]}, weights=[TRIPS]))) == {"add": 248}


def test_loop_that_stops_by_a_value_is_a_lower_bound(counted) -> None:
    proto = model(
        [loop("small", [node("Neg", ["s"], ["s2"])])],
        {"x": [4]},
        weights=[TRIPS],
    )
    proto.graph.node[0].attribute[0].g.node.insert(0, node("ReduceMax", ["s"], ["m"], keepdims=0))
    proto.graph.node[0].attribute[0].g.node.insert(1, node("Less", ["m", "limit"], ["small"]))
    proto.graph.initializer.append(weight("limit", value=1.0))
    tally = counted(proto)
    assert [(one.operator, one.sites) for one in tally.unknown] == [("onnx::Loop", ("loop",))]
    assert {row.name: row.unknown_calls for row in tally.rows() if row.unknown_calls} == {"loop": 1}
    assert kinds(tally) == {"add": 4, "compare": 3 + 1}


def branches():
    cheap = graph([node("Neg", ["x"], ["p"])], [], [helper.make_empty_tensor_value_info("p")], name="cheap")
    dear = graph(
        [node("Tanh", ["x"], ["t"]), node("Neg", ["t"], ["q"])], [], [helper.make_empty_tensor_value_info("q")]
    )
    return node("If", ["c"], ["y"], name="choice", then_branch=dear, else_branch=cheap)


def test_branch_known_from_a_constant(counted) -> None:
    tally = counted(model([branches()], {"x": [3]}, weights=[weight("c", value=True, dtype=bool)]))
    assert kinds(tally) == {"tanh": 3, "add": 3}
    assert tally.complete


def test_branch_that_depends_on_a_value_is_a_lower_bound(counted) -> None:
    tally = counted(model([branches()], {"x": [3], "c": ([], TensorProto.BOOL)}))
    assert kinds(tally) == {"add": 3}
    assert [one.operator for one in tally.unknown] == ["onnx::If"]


def test_local_functions_are_inlined_with_their_attributes(counted) -> None:
    """Mine(x) = LeakyRelu(x, alpha) + x, called twice on 5 numbers: per call 5 * (1 + 1) and 5 additions."""
    leaky = node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.append(onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope"))
    function = helper.make_function(
        "mine", "Mine", ["a"], ["c"], [leaky, node("Add", ["a", "b"], ["c"])], [helper.make_opsetid("", 17)], ["slope"]
    )
    calls = [node("Mine", ["x"], ["h"], domain="mine", slope=0.1), node("Mine", ["h"], ["y"], domain="mine", slope=0.2)]
    tally = counted(model(calls, {"x": [5]}, functions=[function], domains=["mine"]))
    assert kinds(tally) == {"compare": 10, "multiply": 10, "add": 10}


def test_shape_arithmetic_is_free_and_sets_shapes(counted) -> None:
    """Flatten by Shape, Gather and Concat; then a product of (6, 20) with (20, 2)."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Mul", ["n", "three"], ["m"]),
        node("Unsqueeze", ["m", "axis"], ["u"]),
        node("Concat", ["u", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["f"]),
        node("MatMul", ["f", "w"], ["y"]),
    ]
    numbers = {"zero": 0, "three": 3, "axis": [0], "rest": [-1]}
    weights = [weight(name, value=number, dtype=np.int64) for name, number in numbers.items()]
    tally = counted(model(nodes, {"x": ["batch", 3, 20]}, weights=[*weights, weight("w", 20, 2)]), [(2, 3, 20)])
    assert kinds(tally) == {"multiply": 240, "add": 228}
    assert (tally.integer_operations, tally.parameters) == (0, 40)


def test_normalisations_and_softmax(counted) -> None:
    """Batch norm of 2 x 3 x 4: per channel 2 sums, a root, a division, a product; per element a product and a sum.

    Softmax over the last axis of 4: 3 comparisons, 4 + 3 additions, 4 exponentials, 4 divisions for each of 6 rows.
    """
    parts = [weight(name, 3) for name in ("gamma", "beta", "mean", "var")]
    norm = node("BatchNormalization", ["x", "gamma", "beta", "mean", "var"], ["n"])
    tally = counted(model([norm, node("Softmax", ["n"], ["y"])], {"x": [2, 3, 4]}, weights=parts))
    assert kinds(tally) == {
        "multiply": 3 + 24,
        "add": 6 + 24 + 42,
        "sqrt": 3,
        "divide": 3 + 24,
        "compare": 18,
        "exp": 24,
    }
    assert tally.parameters == 6


def test_softmax_before_opset_13_joins_axes(counted) -> None:
    """Axis 1 of 2 x 3 x 4: two rows of 12."""
    tally = counted(model([node("Softmax", ["x"], ["y"])], {"x": [2, 3, 4]}, opset=11))
    assert tally.kinds["compare"] == 22


def test_integer_products_are_no_floating_point(counted) -> None:
    """2 x 3 times 3 x 4 in 8 bits: 24 products and 16 sums of integers."""
    product = node("MatMulInteger", ["x", "w"], ["y"])
    tally = counted(model([product], {"x": ([2, 3], TensorProto.UINT8)}, weights=[weight("w", 3, 4, dtype=np.int8)]))
    assert (tally.flops, tally.integer_operations, tally.parameters) == (0, 40, 12)
    # As a module with dynamic quantisation does, which makes such a product.
    assert tally.macs == 24


def test_unknown_operators_are_named_and_strict_refuses_them(counted) -> None:
    nodes = [node("Magic", ["x"], ["h"], domain="elsewhere", name="trick"), node("Relu", ["x"], ["y"])]
    proto = model(nodes, {"x": [3]}, outputs=["h", "y"], domains=["elsewhere"])
    tally = counted(proto)
    assert [(one.operator, one.sites, one.calls) for one in tally.unknown] == [("elsewhere::Magic", ("trick",), 1)]
    assert {row.name: row.unknown_calls for row in tally.rows() if row.unknown_calls} == {"trick": 1}
    assert kinds(tally) == {"compare": 3}
    with pytest.raises(UncountedOperatorError, match=r"elsewhere::Magic.*'trick'"):
        counted(proto, strict=True)


def test_a_registered_formula_counts_an_operator_of_ones_own(counted) -> None:
    @register_formula("elsewhere::Registered")
    def _registered(call):
        return OperationCount(other=call["input0"].elements)

    proto = model([node("Registered", ["x"], ["y"], domain="elsewhere")], {"x": [3]}, domains=["elsewhere"])
    proto.graph.output[0].CopyFrom(value("y", [3]))
    assert kinds(counted(proto)) == {"other": 3}


def test_inputs_by_name_as_tensors_and_as_shapes(counted) -> None:
    proto = model([node("MatMul", ["a", "b"], ["y"])], {"a": ["n", 4], "b": [4, "m"]})
    expected = counted(proto, [(2, 4), (4, 5)]).macs
    assert expected == 40
    assert counted(proto, {"b": np.zeros((4, 5)), "a": torch.empty(2, 4, device="meta")}).macs == expected


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, r"input 'a' has free axes.*a \(n, 4\); b \(4, n\)"),
        ([(2, 5), (4, 2)], r"input 'a' is given \(2, 5\)"),
        ([(2, 4), (4, 3)], r"input 'b' is given \(4, 3\)"),
        ([(2, 4), (4, 2), (1,)], "3 inputs are given, the graph takes 2"),
        ({"c": (1,)}, "has no input 'c'"),
        (["2,4"], "expected a tensor, an array or a shape"),
    ],
)
def test_inputs_that_do_not_fit_are_named(counted, inputs, message) -> None:
    proto = model([node("MatMul", ["a", "b"], ["y"])], {"a": ["n", 4], "b": [4, "n"]})
    with pytest.raises(InputError, match=message):
        counted(proto, inputs)


def test_sizes_that_do_not_fit_a_node_name_the_node(counted) -> None:
    with pytest.raises(InputError, match=r"node 'product' \(MatMul\) does not take inputs of \(2, 3\), \(4, 5\)"):
        counted(model([node("MatMul", ["a", "b"], ["y"], name="product")], {"a": [2, 3], "b": [4, 5]}))


def test_large_weights_never_reach_memory(tmp_path, monkeypatch) -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"x": [1, 500]}, weights=[weight("w", 500, 400)])
    onnx.save(proto, tmp_path / "model.onnx")
    slim = reading.read_onnx(tmp_path / "model.onnx")
    assert len(slim.SerializeToString()) < 1000
    assert count_onnx(tmp_path / "model.onnx").parameters == 200_000


def test_external_data_is_not_opened(tmp_path) -> None:
    proto = model([node("MatMul", ["x", "w"], ["y"])], {"x": [1, 500]}, weights=[weight("w", 500, 400)])
    onnx.save(proto, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    tally = count_onnx(tmp_path / "model.onnx")
    assert (tally.macs, tally.parameters) == (200_000, 200_000)


def test_functions_that_multiply_without_end_are_refused(counted) -> None:
    """Forty functions, each of which calls the next twice."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    functions = [
        helper.make_function(
            "mine",
            f"F{index}",
            ["a"],
            ["c"],
            [node(f"F{index + 1}", ["a"], ["b"], domain="mine"), node(f"F{index + 1}", ["b"], ["c"], domain="mine")],
            opsets,
        )
        for index in range(40)
    ]
    functions.append(helper.make_function("mine", "F40", ["a"], ["c"], [node("Identity", ["a"], ["c"])], opsets))
    proto = model([node("F0", ["x"], ["y"], domain="mine")], {"x": [3]}, functions=functions, domains=["mine"])
    with pytest.raises(CheckpointError, match="more than"):
        counted(proto)


def test_a_function_that_calls_itself_is_refused(counted) -> None:
    opsets = [helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="mine")], opsets)
    with pytest.raises(CheckpointError, match="nested more than"):
        counted(model([node("F", ["x"], ["y"], domain="mine")], {"x": [3]}, functions=[function], domains=["mine"]))


def test_a_result_nothing_gives_is_named(counted) -> None:
    with pytest.raises(CheckpointError, match=r"node 'lost' reads 'nowhere'"):
        counted(model([node("Relu", ["nowhere"], ["y"], name="lost")], {"x": [3]}))
