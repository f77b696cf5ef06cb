"""Reads the checkpoints of Baidu's second release: `params.pdparams`, written by PaddlePaddle 1.6 to 1.8 (2019-2020).

The file is one record after another, each with the shape of its tensor but not its name. They were saved in the
order of their sorted names, so the shapes alone tell the architecture.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepspeech2.errors import CheckpointError
from deepspeech2.speech.legacy_layout import LegacyTensor, check_size, legacy_tensors, state_of
from deepspeech2.speech.options import NetworkOptions, published_convolutions
from deepspeech2.speech.protobuf_fields import read_fields

_HEADER = struct.Struct("<IQIi")  # version, levels of detail, version of the tensor, bytes of its description
_DESCRIPTION_LIMIT = 256
_MOST_TENSORS = 4096
_FLOAT32 = 5
# Tensors of one layer: a shared layer has one projection and batch norm, the others one for each direction.
_CONVOLUTION_TENSORS, _SHARED_TENSORS, _SEPARATE_TENSORS, _OUTPUT_TENSORS = 5, 9, 14, 2


@dataclass(frozen=True)
class _Record:
    shape: tuple[int, ...]
    offset: int

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def read_fluid(path: Path) -> tuple[NetworkOptions, dict[str, Tensor]]:
    """Read a fluid file: the architecture its shapes imply, and the weights for our state dict.

    Raises:
        CheckpointError: The file is damaged, is another kind of file, or its shapes fit no architecture.
    """
    with path.open("rb") as file:
        records = _records(file, path.stat().st_size)
        options = _infer(records)
        tensors = _stored_order(options)
        for index, (tensor, record) in enumerate(zip(tensors, records, strict=True)):
            check_size(f"tensor {index} ({tensor.fluid_name})", tensor, record.shape)
        values = {tensor.v2_name: _values(file, record) for tensor, record in zip(tensors, records, strict=True)}
    return options, state_of(tensors, values)


def looks_like_fluid(start: bytes) -> bool:
    """Whether a file that begins so is a sequence of fluid records."""
    if len(start) < _HEADER.size:
        return False
    version, levels, tensor_version, length = _HEADER.unpack_from(start)
    return (version, levels, tensor_version) == (0, 0, 0) and 0 < length <= _DESCRIPTION_LIMIT


def _stored_order(options: NetworkOptions) -> list[LegacyTensor]:
    return sorted(legacy_tensors(options), key=lambda tensor: tensor.fluid_name)


def _infer(records: list[_Record]) -> NetworkOptions:
    convolutions = sum(len(record.shape) == 4 for record in records)
    rest = len(records) - _CONVOLUTION_TENSORS * convolutions - _OUTPUT_TENSORS
    problem = f"its {len(records)} tensors, {convolutions} of them convolutions, fit no DeepSpeech2"
    if convolutions < 1 or rest <= 0:
        raise CheckpointError(problem)
    reason = ""
    for shared, tensors in ((True, _SHARED_TENSORS), (False, _SEPARATE_TENSORS)):
        layers, odd = divmod(rest, tensors)
        if odd:
            continue
        for cell in ("simple",) if shared else ("simple", "gru"):
            sizes = NetworkOptions(
                convolutions=published_convolutions(convolutions), recurrent_layers=layers, shared=shared
            )
            output = next(
                record.shape
                for tensor, record in zip(_stored_order(sizes), records, strict=True)
                if tensor.key == "output.weight"
            )
            if len(output) != 2 or output[0] % 2 or output[1] < 2:
                reason = reason or f": expected an output of (2 * size, symbols + 1), found {output}"
                continue
            options = NetworkOptions(
                vocab_size=output[1] - 1,
                convolutions=published_convolutions(convolutions),
                recurrent_layers=layers,
                recurrent_size=output[0] // 2,
                cell="gru" if cell == "gru" else "simple",
                shared=shared,
            )
            pairs = list(zip(_stored_order(options), records, strict=True))
            wrong = next(((tensor, record) for tensor, record in pairs if tensor.shape != record.shape), None)
            if wrong is None:
                return options
            reason = reason or f": {wrong[0].fluid_name} should be {wrong[0].shape}, found {wrong[1].shape}"
    raise CheckpointError(problem + reason)


def _records(file: BinaryIO, file_bytes: int) -> list[_Record]:
    records: list[_Record] = []
    position = 0
    while position < file_bytes:
        name = f"tensor {len(records)}"
        if len(records) == _MOST_TENSORS:
            raise CheckpointError(f"holds more than {_MOST_TENSORS} tensors")
        file.seek(position)
        header = file.read(_HEADER.size)
        if not looks_like_fluid(header):
            raise CheckpointError(f"{name}: damaged or truncated: no tensor header at byte {position}")
        length = _HEADER.unpack(header)[3]
        shape = _shape(file.read(length), name)
        record = _Record(shape, position + _HEADER.size + length)
        position = record.offset + 4 * record.count
        if position > file_bytes:
            raise CheckpointError(
                f"{name}: truncated: its shape {shape} needs {4 * record.count} bytes, "
                f"{max(file_bytes - record.offset, 0)} are left"
            )
        records.append(record)
    return records


def _shape(description: bytes, name: str) -> tuple[int, ...]:
    """The shape of a TensorDesc: fields data type (1) and dims (2)."""
    fields = read_fields(description, name)
    if fields.get(1) != [_FLOAT32]:
        raise CheckpointError(f"{name}: expected float32 values (type {_FLOAT32}), found type {fields.get(1)}")
    dims = fields.get(2, [])
    if not 1 <= len(dims) <= 4 or not all(isinstance(dim, int) and 0 < dim < 1 << 40 for dim in dims):
        raise CheckpointError(f"{name}: impossible shape {dims}")
    return tuple(int(dim) for dim in dims)


def _values(file: BinaryIO, record: _Record) -> NDArray[np.float32]:
    file.seek(record.offset)
    return np.frombuffer(file.read(4 * record.count), "<f4").astype(np.float32)
