"""Reads the fields of a small protobuf message without its schema: enough for the headers of old checkpoints."""

from __future__ import annotations

from deepspeech2.errors import CheckpointError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


def read_fields(message: bytes, name: str) -> dict[int, list[int | bytes]]:
    """Collect the fields of a message in the order they appear.

    Args:
        message: The encoded message.
        name: What an error calls it.

    Returns:
        Field number to values: varints as int (two's complement for negative int64), everything else as bytes.

    Raises:
        CheckpointError: The bytes are no protobuf message.
    """
    fields: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(message):
        key, position = _varint(message, position, name)
        wire = key & 7
        value: int | bytes
        if wire == _VARINT:
            value, position = _varint(message, position, name)
        elif wire in (_FIXED64, _FIXED32, _BYTES):
            length = 8 if wire == _FIXED64 else 4
            if wire == _BYTES:
                length, position = _varint(message, position, name)
            value = message[position : position + length]
            if len(value) != length:
                raise CheckpointError(f"{name}: a field announces {length} bytes, {len(value)} are left")
            position += length
        else:
            raise CheckpointError(f"{name}: not a protobuf message (wire type {wire})")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _varint(message: bytes, position: int, name: str) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[position : position + _LONGEST_VARINT]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, position + index + 1
    raise CheckpointError(f"{name}: not a protobuf message (a number does not end)")
