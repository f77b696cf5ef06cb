"""Opens ONNX files without their weights: counting needs shapes only, so large tensors never reach memory."""

from __future__ import annotations

import mmap
from importlib import import_module
from pathlib import Path
from typing import Any

from deepspeech2.errors import CheckpointError, OptionError

# Tensors and messages up to this size are kept as they are: small ones may be shapes, axes or limits.
_SMALL = 64 * 1024
_LARGEST_GRAPH = 128 * 2**20
_DEEPEST = 64

# Which fields of which message hold messages that may hold tensors (numbers of onnx.proto).
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
# Where a tensor keeps its values: float, int32, string, int64, raw, double, uint64.
_VALUES = frozenset({4, 5, 6, 7, 9, 10, 11})


def require_onnx() -> Any:
    """The package onnx.

    Raises:
        OptionError: it is not installed.
    """
    try:
        return import_module("onnx")
    except ImportError as error:
        raise OptionError("ONNX files need the package onnx: pip install 'deepspeech2[onnx]'") from error


def read_onnx(path: Path) -> Any:
    """Read a model's graph; tensors above 64 KiB lose their values, external data is not opened.

    The file is mapped, not read: memory is bounded by the graph without weights, which may take up to 128 MiB.

    Returns:
        An `onnx.ModelProto`.

    Raises:
        CheckpointError: the file cannot be read, or is no ONNX model, or is damaged.
        OptionError: the package onnx is missing.
    """
    onnx = require_onnx()
    slim, reason = b"", ""
    try:
        if path.stat().st_size == 0:
            raise CheckpointError(f"{path}: expected an ONNX model, found an empty file")
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            memoryview(content) as view,
        ):
            try:
                slim = bytes(_without_weights(view, "model", 0))
            except ValueError as error:
                # Raised outside: a traceback would keep views of the mapping, which then cannot be closed.
                reason = str(error)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    if reason:
        raise CheckpointError(f"{path}: expected an ONNX model, found {reason}")
    if len(slim) > _LARGEST_GRAPH:
        raise CheckpointError(
            f"{path}: the graph alone, without weights, takes {len(slim):,} bytes; at most {_LARGEST_GRAPH:,} are read"
        )
    try:
        model = onnx.ModelProto.FromString(slim)
    except Exception as error:  # the decoder's error class depends on the version of protobuf
        raise CheckpointError(f"{path}: expected an ONNX model, found a damaged file") from error
    if not model.graph.node or not model.opset_import:
        raise CheckpointError(f"{path}: expected an ONNX model, found a file without a graph or without an opset")
    return model


def _without_weights(message: memoryview, kind: str, depth: int) -> bytearray:
    """Copy a message, leaving out the values of large tensors."""
    if depth > _DEEPEST:
        raise ValueError(f"graphs nested more than {_DEEPEST} deep")
    inside, result, position = _INSIDE[kind], bytearray(), 0
    while position < len(message):
        start = position
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            _, position = _varint(message, position)
            result += message[start:position]
            continue
        length = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            length, position = _varint(message, position)
        if length is None:
            raise ValueError(f"something else (field type {wire} at byte {start} of a {kind})")
        if position + length > len(message):
            raise ValueError(f"a truncated file: a {kind} announces {length} bytes, {len(message) - position} are left")
        body = message[position : position + length]
        position += length
        if kind == "tensor" and number in _VALUES:
            continue  # only large tensors are copied field by field
        if wire == 2 and length > _SMALL and number in inside:
            slim = _without_weights(body, inside[number], depth + 1)
            result += _encoded(key) + _encoded(len(slim)) + slim
        else:
            result += message[start:position]
        if len(result) > 2 * _LARGEST_GRAPH:
            raise ValueError(f"a {kind} of more than {_LARGEST_GRAPH:,} bytes without weights")
    return result


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[position : position + 10]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, position + index + 1
    raise ValueError("something else (a number does not end)")


def _encoded(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)
