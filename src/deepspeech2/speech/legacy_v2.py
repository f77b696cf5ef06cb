"""Reads the checkpoints of Baidu's first release: `params.tar.gz`, written by `paddle.v2` (2017-2018).

A plain tar, usually compressed, with two members for each parameter: the values and a small description. The
archive is read as a stream and never extracted; only the names such a file can have are accepted, and no more is
read than an honest file of that size could hold.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deepspeech2.errors import CheckpointError
from deepspeech2.speech.legacy_layout import check_size, legacy_tensors, state_of
from deepspeech2.speech.options import NetworkOptions, published_convolutions
from deepspeech2.speech.protobuf_fields import read_fields

_NAME = re.compile(r"___(conv|batch_norm|fc_layer|recurrent_layer|gru)_(0|[1-9]\d{0,3})__\.(w[012]|wbias)(\.protobuf)?")
_BLOCK = 512
_VALUE_HEADER = struct.Struct("<IIQ")  # format, bytes of a value, number of values
_DESCRIPTION_LIMIT = 4096
# Trained weights hardly compress (to about 92%); a file that grows further than this is not weights.
# Small tensors are mostly tar padding, hence the allowance.
_LARGEST_EXPANSION = 32
_ALLOWANCE = 16 << 20
_CHUNK = 1 << 20


def read_v2(path: Path) -> tuple[NetworkOptions, dict[str, Tensor]]:
    """Read a v2 archive: the architecture its names and sizes imply, and the weights for our state dict.

    Raises:
        CheckpointError: The file is damaged, is another kind of archive, or its tensors fit no architecture.
    """
    sizes = {name: size for name, size, _ in _parameters(path, with_values=False)}
    options = _infer(sizes)
    tensors = legacy_tensors(options)
    _check(sizes, {tensor.v2_name for tensor in tensors})
    for tensor in tensors:
        check_size(tensor.v2_name, tensor, sizes[tensor.v2_name])
    values = {name: value for name, _, value in _parameters(path, with_values=True) if value is not None}
    return options, state_of(tensors, values)


def _infer(sizes: dict[str, int]) -> NetworkOptions:
    layers = {kind: _count(sizes, kind) for kind in ("conv", "fc_layer", "recurrent_layer", "gru")}
    gru, simple, projections = layers["gru"], layers["recurrent_layer"], layers["fc_layer"] - 1
    units = gru or simple
    if not layers["conv"] or not units or units % 2 or (gru and simple) or projections not in (units, units // 2):
        raise CheckpointError(
            "the names fit no DeepSpeech2: found " + ", ".join(f"{count} x {kind}" for kind, count in layers.items())
        )
    shared = projections != units
    if gru and shared:
        raise CheckpointError(f"expected a projection for each of {gru} GRU directions, found {projections}")
    bias = "___gru_0__.wbias" if gru else "___recurrent_layer_0__.wbias"
    output_bias = f"___fc_layer_{projections}__.wbias"
    for name in (bias, output_bias):
        if name not in sizes:
            raise CheckpointError(f"expected a member {name}, found none")
    size, odd = divmod(sizes[bias], 3 if gru else 1)
    if not size or odd or sizes[output_bias] < 2:
        raise CheckpointError(f"sizes that fit no layer: {bias} {sizes[bias]}, {output_bias} {sizes[output_bias]}")
    return NetworkOptions(
        vocab_size=sizes[output_bias] - 1,
        convolutions=published_convolutions(layers["conv"]),
        recurrent_layers=units // 2,
        recurrent_size=size,
        cell="gru" if gru else "simple",
        shared=shared,
    )


def _count(sizes: dict[str, int], kind: str) -> int:
    return sum(name.startswith(f"___{kind}_") and name.endswith(".w0") for name in sizes)


def _check(found: dict[str, int], expected: set[str]) -> None:
    missing, unexpected = sorted(expected - found.keys()), sorted(found.keys() - expected)
    if missing:
        raise CheckpointError(f"the archive has no {missing[0]}, which the architecture of its other names needs")
    if unexpected:
        raise CheckpointError(f"the archive has an unexpected {unexpected[0]} for the architecture of its other names")


def _parameters(path: Path, *, with_values: bool) -> Iterator[tuple[str, int, NDArray[np.float32] | None]]:
    """Yield (name, number of values, values) of every parameter whose description agrees with its values."""
    sizes: dict[str, int] = {}
    described: dict[str, int] = {}
    with path.open("rb") as file:
        stream = _Stream.over(file, path.stat().st_size)
        for member, length in _members(stream):
            name = member.removesuffix(".protobuf")
            seen = described if member != name else sizes
            if name in seen:
                raise CheckpointError(f"member {member} occurs twice")
            if seen is described:
                described[name] = _described_size(member, stream.read(length, member))
                continue
            sizes[name] = _value_count(member, length, stream)
            yield name, sizes[name], _values(member, sizes[name], stream, keep=with_values)
        stream.drain()
    for name in sizes | described:
        if sizes.get(name) != described.get(name):
            raise CheckpointError(
                f"{name}: expected values and a description of one size, found {sizes.get(name, 'no values')} "
                f"and {described.get(name, 'no description')}"
            )


def _value_count(name: str, length: int, stream: _Stream) -> int:
    if length < _VALUE_HEADER.size:
        raise CheckpointError(f"{name}: expected a header of {_VALUE_HEADER.size} bytes, found {length} bytes")
    version, width, count = _VALUE_HEADER.unpack(stream.read(_VALUE_HEADER.size, name))
    if (version, width) != (0, 4):
        raise CheckpointError(f"{name}: expected format 0 with values of 4 bytes, found {version} with {width}")
    if length != _VALUE_HEADER.size + 4 * count:
        raise CheckpointError(f"{name}: its header announces {count} values, its {length} bytes hold another number")
    return int(count)


def _values(name: str, count: int, stream: _Stream, *, keep: bool) -> NDArray[np.float32] | None:
    if keep:
        return np.frombuffer(stream.read(4 * count, name), "<f4").astype(np.float32)
    stream.skip(4 * count, name)
    return None


def _described_size(member: str, description: bytes) -> int:
    """Number of values according to a ParameterConfig: fields name (1), size (2), dims (9)."""
    fields = read_fields(description, member)
    name, size, dims = fields.get(1, [b""])[-1], fields.get(2, [0])[-1], fields.get(9, [])
    if name != member.removesuffix(".protobuf").encode():
        raise CheckpointError(f"{member}: describes another parameter, {name!r}")
    if not isinstance(size, int) or not all(isinstance(dim, int) for dim in dims):
        raise CheckpointError(f"{member}: expected numbers as size and dims")
    if dims and math.prod(dim for dim in dims if isinstance(dim, int)) != size:
        raise CheckpointError(f"{member}: expected dims that multiply to its size {size}, found {dims}")
    return size


def _members(stream: _Stream) -> Iterator[tuple[str, int]]:
    """Yield the name and length of each member; the caller reads exactly that many bytes before the next."""
    while True:
        header = stream.read(_BLOCK, "a member header")
        if not any(header):
            return
        stored, total = header[148:156], sum(header) - sum(header[148:156]) + 8 * 32
        if _octal(stored) != total:
            raise CheckpointError("not a tar archive, or a damaged one: the checksum of a member header is wrong")
        name = header[:100].split(b"\0", 1)[0].decode("latin-1").removeprefix("./")
        if header[156:157] not in (b"0", b"\0") or any(header[345:500]):
            raise CheckpointError(f"member {name!r}: expected a plain file, found type {header[156:157]!r}")
        if not _NAME.fullmatch(name):
            raise CheckpointError(
                f"unexpected member {name!r}: a Baidu v2 checkpoint holds ___conv_0__.w0 and so on; if this is the "
                "archive of a whole release, extract it and give its params.tar.gz"
            )
        length = _octal(header[124:136])
        if length is None or (name.endswith(".protobuf") and length > _DESCRIPTION_LIMIT):
            raise CheckpointError(f"member {name}: impossible length {length}")
        stream.expect(length, name)
        yield name, length
        stream.skip(-length % _BLOCK, name)


def _octal(field: bytes) -> int | None:
    text = field.strip(b" \0")
    return int(text, 8) if text and re.fullmatch(rb"[0-7]+", text) else None


@dataclass
class _Stream:
    """Reads an archive, compressed or not, and gives up where an honest file of that size would have ended."""

    source: BinaryIO
    left: int

    @classmethod
    def over(cls, file: BinaryIO, file_bytes: int) -> _Stream:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if compressed:
            return cls(gzip.GzipFile(fileobj=file), _LARGEST_EXPANSION * file_bytes + _ALLOWANCE)  # type: ignore[arg-type]
        return cls(file, file_bytes)

    def expect(self, count: int, name: str) -> None:
        if count > self.left:
            raise CheckpointError(f"{name}: announces {count} bytes, more than a file of this size can hold")

    def read(self, count: int, name: str) -> bytes:
        self.left -= count
        try:
            data = self.source.read(count)
        except (EOFError, OSError, zlib.error) as error:
            raise CheckpointError(f"damaged or truncated at {name} ({error})") from error
        if len(data) != count:
            raise CheckpointError(f"truncated: expected {count} more bytes at {name}, found {len(data)}")
        return data

    def skip(self, count: int, name: str) -> None:
        while count:
            step = min(count, _CHUNK)
            self.read(step, name)
            count -= step

    def drain(self) -> None:
        """Read to the end, so that the compressed file's own checksum is verified."""
        try:
            while self.left > 0 and (data := self.source.read(min(self.left, _CHUNK))):
                self.left -= len(data)
        except (EOFError, OSError, zlib.error) as error:
            raise CheckpointError(f"damaged or truncated at its end ({error})") from error
