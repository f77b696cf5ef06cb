"""Damaged ONNX files end in one of this package's errors, or count; never in anything else."""

import contextlib

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from deepspeech2 import count_onnx
from deepspeech2.errors import CheckpointError, DeepSpeech2Error
from onnx_cases import model, weight

NODES = [
    helper.make_node("Conv", ["x", "w"], ["h"], strides=[2], pads=[1, 1]),
    helper.make_node("GRU", ["t", "i", "r"], ["s"], hidden_size=4),
    helper.make_node("Transpose", ["h"], ["t"], perm=[2, 0, 1]),
]
WEIGHTS = [weight("w", 3, 2, 3), weight("i", 1, 12, 3), weight("r", 1, 12, 4)]
WHOLE = model([NODES[0], NODES[2], NODES[1]], {"x": [1, 2, 20]}, outputs=["s"], weights=WEIGHTS).SerializeToString()


@pytest.mark.parametrize("kept", [1, 10, len(WHOLE) // 2, len(WHOLE) - 1])
def test_truncated_files_are_refused_in_one_line(kept, tmp_path) -> None:
    (tmp_path / "model.onnx").write_bytes(WHOLE[:kept])
    with pytest.raises(CheckpointError) as caught:
        count_onnx(tmp_path / "model.onnx")
    assert str(tmp_path / "model.onnx") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_whole_file_counts(tmp_path) -> None:
    (tmp_path / "model.onnx").write_bytes(WHOLE)
    assert count_onnx(tmp_path / "model.onnx").macs == 10 * 3 * 6 + 10 * 12 * (3 + 4)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_end_in_a_count_or_an_error_of_ours(changes, tmp_path) -> None:
    damaged = bytearray(WHOLE)
    for position, byte in changes:
        damaged[position] = byte
    (tmp_path / "model.onnx").write_bytes(damaged)
    with contextlib.suppress(DeepSpeech2Error):
        count_onnx(tmp_path / "model.onnx")


def test_other_files_are_no_models(tmp_path) -> None:
    for content in (b"", b"hello, this is a text\n" * 9, onnx.TensorProto(name="x").SerializeToString()):
        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(CheckpointError, match="expected an ONNX model"):
            count_onnx(tmp_path / "model.onnx")
