"""What checkpoints carry, and that hostile files end in one line and bounded memory."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from deepspeech2.errors import CheckpointError, VocabularyError
from deepspeech2.speech.build import build_model
from deepspeech2.speech.checkpoints import checkpoint_kind, load_model, save_model
from deepspeech2.speech.features import Normalizer
from deepspeech2.speech.legacy_layout import legacy_tensors
from deepspeech2.speech.options import ConvolutionOptions, NetworkOptions, published_convolutions

TINY = NetworkOptions(vocab_size=2, convolutions=(ConvolutionOptions(2, (3, 3), (8, 3)),), recurrent_size=3)
V2 = NetworkOptions(vocab_size=2, convolutions=published_convolutions(1), recurrent_layers=1, recurrent_size=2)


def varint(value):
    encoded = b""
    while value > 127:
        encoded, value = encoded + bytes([value & 127 | 128]), value >> 7
    return encoded + bytes([value])


def v2_members(options=V2):
    """The members of a v2 archive, written from the format's description."""
    members = {}
    for number, tensor in enumerate(legacy_tensors(options)):
        name, size = tensor.v2_name, int(np.prod(tensor.shape))
        values = (np.arange(size) % 7 / 8 + number).astype("<f4").tobytes()
        members[name] = struct.pack("<IIQ", 0, 4, size) + values
        members[name + ".protobuf"] = b"\x0a" + varint(len(name)) + name.encode() + b"\x10" + varint(size)
    return members


def archive(members):
    """A gzipped tar of (name, content) pairs or ready-made TarInfo entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name) if isinstance(name, str) else name
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue())


def fluid_records(options=V2):
    stored = sorted(legacy_tensors(options), key=lambda tensor: tensor.fluid_name)
    return [fluid_record(tensor.shape, np.ones(tensor.shape, "<f4").tobytes()) for tensor in stored]


def fluid_record(shape, content):
    description = b"\x08\x05" + b"".join(b"\x10" + varint(dim) for dim in shape)
    return struct.pack("<IQIi", 0, 0, 0, len(description)) + description + content


def refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layers", [1, 3, 11])
@pytest.mark.parametrize(("cell", "shared"), [("simple", True), ("simple", False), ("gru", False)])
def test_architecture_is_inferred_from_either_format(tmp_path, layers, cell, shared) -> None:
    options = NetworkOptions(
        vocab_size=5,
        convolutions=published_convolutions(2),
        recurrent_layers=layers,
        recurrent_size=2,
        cell=cell,
        shared=shared,
    )
    (tmp_path / "v2").write_bytes(archive(v2_members(options).items()))
    (tmp_path / "fluid").write_bytes(b"".join(fluid_records(options)))
    assert load_model(tmp_path / "v2").options == options
    assert load_model(tmp_path / "fluid").options == options


def test_uncompressed_v2_archive_is_read(tmp_path) -> None:
    path = tmp_path / "params.tar"
    path.write_bytes(gzip.decompress(archive(v2_members().items())))
    assert load_model(path).options == V2


def test_labels_and_normalizer_travel_along(tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    model = build_model(TINY, seed=0, labels=("a", "ß"))
    model.normalizer = Normalizer(np.arange(161.0), np.ones(161))
    save_model(model, path)
    again = load_model(path)
    assert again.labels == ("a", "ß")
    assert np.array_equal(again.normalizer.mean, np.arange(161.0, dtype=np.float32)[:, None])
    assert again.normalizer.std.dtype == np.float32
    npz = tmp_path / "mean_std.npz"
    np.savez(npz, mean=np.full((161, 1), 2.0), std=np.full((161, 1), 3.0))
    other = load_model(path, normalizer=npz, labels="xy")
    assert other.labels == ("x", "y")
    assert (other.normalizer.mean == 2).all()
    with pytest.raises(VocabularyError, match="expected 2 symbols"):
        load_model(path, labels="xyz")


def test_half_precision_stores_weights_at_half_the_size(tmp_path) -> None:
    model = build_model(NetworkOptions(recurrent_size=32), seed=0)
    save_model(model, tmp_path / "full.safetensors")
    save_model(model, tmp_path / "half.safetensors", dtype=torch.float16)
    full, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "half"))
    assert half < 0.52 * full
    again = load_model(tmp_path / "half.safetensors").state_dict()
    for name, value in model.state_dict().items():
        assert again[name].dtype == torch.float32
        torch.testing.assert_close(again[name], value, rtol=1e-3, atol=1e-6)


def test_a_failed_save_leaves_nothing_behind(tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    path.mkdir()
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_model(build_model(TINY, seed=0), path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"hello", "not a checkpoint"),
        (pickle.dumps({}), "never opened"),
        (b"PK\x03\x04" + bytes(600), "never opened"),
        (struct.pack("<Q", 1 << 40) + b"{" + bytes(64), "announces 1099511627776 bytes"),
        (struct.pack("<Q", 40) + b"{" + bytes(64), "damaged"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, content, message) -> None:
    refused(tmp_path / "file", content, message)


def test_missing_file_and_empty_folder(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="a folder with one of params"):
        checkpoint_kind(tmp_path)


def own(tmp_path, change):
    """A saved tiny model after `change(tensors, configuration)`."""
    path = tmp_path / "changed.safetensors"
    save_model(build_model(TINY, seed=0), path)
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    tensors, configuration = load_file(path), json.loads(header["__metadata__"]["deepspeech2"])
    change(tensors, configuration)
    save_file(tensors, path, {"deepspeech2": json.dumps(configuration)})
    return path.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, c: c.update(version=2), "version 1, found 2"),
        (lambda t, c: c.update(extra=1), "configuration is damaged"),
        (lambda t, c: c["options"].update(recurrent_layers=10**9), "absurd network"),
        (lambda t, c: c["options"].update(recurrent_size=1 << 40), "absurd network"),
        (lambda t, c: c["options"]["convolutions"][0].update(channels=1 << 24, kernel=[1 + (1 << 23)] * 2), "network"),
        (lambda t, c: c["options"].update(recurrent_size=-1), "at least 1"),
        (lambda t, c: c.update(labels=["a"]), "expected 2 symbols"),
        (lambda t, c: t.pop("output.bias"), r"output.bias: expected a tensor of shape \(3,\), found none"),
        (lambda t, c: t.update(more=torch.zeros(1)), r"more: expected a tensor of shape none, found \(1,\)"),
        (lambda t, c: t.update({"output.bias": torch.zeros(4)}), r"shape \(3,\), found \(4,\)"),
        (lambda t, c: t.update({"output.bias": torch.zeros(3, dtype=torch.int32)}), "torch.int32"),
        (lambda t, c: t["output.bias"].fill_(float("nan")), "output.bias: 3 of 3 values are not finite"),
        (lambda t, c: t["conv.0.norm.running_var"].fill_(-1), "expected variances, found -1"),
        (lambda t, c: t.update({"normalizer.mean": torch.zeros(9), "normalizer.std": torch.ones(9)}), "161 freq"),
        (lambda t, c: t.update({"normalizer.mean": torch.zeros(161), "normalizer.std": -torch.ones(161)}), "non-neg"),
    ],
)
def test_own_files_that_contradict_themselves(tmp_path, change, message) -> None:
    content = own(tmp_path, change)
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_model(path)


def test_safetensors_of_another_program(tmp_path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    refused(path, path.read_bytes(), "of another program")
    nested = '{"labels":' + "[" * 100_000 + "]" * 100_000 + "}"
    save_file({"weight": torch.zeros(2)}, path, {"deepspeech2": nested})
    refused(path, path.read_bytes(), "its configuration is damaged")


def link(kind):
    entry = tarfile.TarInfo("___conv_0__.w0")
    entry.type, entry.linkname = kind, "/etc/passwd"
    return entry


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../../outside", b"x")], r"unexpected member '\.\./\.\./outside'"),
        ([("/etc/passwd", b"x")], "unexpected member '/etc/passwd'"),
        ([("model/params.tar.gz", b"x")], "extract it"),
        ([(link(tarfile.SYMTYPE), b"")], "expected a plain file"),
        ([(link(tarfile.LNKTYPE), b"")], "expected a plain file"),
        ([(link(tarfile.DIRTYPE), b"")], "expected a plain file"),
        ([(link(tarfile.GNUTYPE_SPARSE), b"")], "expected a plain file"),
        ([*v2_members().items(), ("___conv_0__.w0", v2_members()["___conv_0__.w0"])], "occurs twice"),
        (list(v2_members().items())[:-2], "expected a member ___fc_layer_1__.wbias"),
        (list(v2_members().items())[1:], "no values"),
        (list(v2_members().items())[2:], "fit no DeepSpeech2"),
        ([*v2_members().items(), *list(v2_members(TINY).items())[40:42]], "unexpected"),
        ([("___conv_0__.w0", b"short")], "header of 16 bytes"),
        ([("___conv_0__.w0", struct.pack("<IIQ", 0, 8, 0))], "values of 4 bytes, found 0 with 8"),
        ([("___conv_0__.w0", struct.pack("<IIQ", 0, 4, 1 << 60))], "announces 1152921504606846976 values"),
        ([("___conv_0__.w0.protobuf", bytes(5000))], "impossible length 5000"),
        ([("___conv_0__.w0.protobuf", b"\x0a\xff\xff\xff\xff\x0f")], "announces"),
        ([("___conv_0__.w0.protobuf", b"\x0a\x01x")], "describes another parameter"),
        ([], "fit no DeepSpeech2"),
    ],
)
def test_hostile_v2_archives(tmp_path, members, message) -> None:
    refused(tmp_path / "params.tar.gz", archive(members), message)
    assert [path.name for path in tmp_path.iterdir()] == ["params.tar.gz"]


def test_checksums_are_verified(tmp_path) -> None:
    packed = archive(v2_members().items())
    path = tmp_path / "params.tar.gz"
    refused(path, packed[:-4], "at its end")
    refused(path, packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:], "at its end .CRC")
    unpacked = bytearray(gzip.decompress(packed))
    unpacked[100] ^= 1  # the mode of the first member
    refused(path, gzip.compress(unpacked), "checksum of a member header")


@pytest.mark.parametrize("bomb", ["member", "padding"])
def test_gzip_bombs_take_bounded_memory(tmp_path, bomb) -> None:
    entry = tarfile.TarInfo("___conv_0__.w0")
    entry.size = 16 + (1 << 30)
    header = entry.tobuf(tarfile.USTAR_FORMAT) + struct.pack("<IIQ", 0, 4, 1 << 28) if bomb == "member" else b""
    path = tmp_path / "bomb"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header)
        for _ in range(100):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="more than a file of this size can hold" if header else "fit no"):
        load_model(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda records: b"".join(records[:-1]), "fit no DeepSpeech2"),
        (lambda records: b"".join(records)[:-1], "truncated"),
        (lambda records: b"".join(records) + b"x", "no tensor header"),
        (lambda records: b"".join([*records[1:], records[0]]), "fit no DeepSpeech2"),
        (lambda records: fluid_record((1 << 39, 1 << 39), b""), "truncated"),
        (lambda records: fluid_record((0,), b""), "impossible shape"),
        (lambda records: fluid_record(((1 << 64) - 1,), b""), "impossible shape"),
        (lambda records: fluid_record((1, 1, 1, 1, 1), bytes(4)), "impossible shape"),
        (lambda records: fluid_record((1,), bytes(4)) * 5000, "more than 4096 tensors"),
        (lambda records: struct.pack("<IQIi", 0, 0, 0, 2) + b"\x08\x06", "found type"),
        (lambda records: struct.pack("<IQIi", 0, 0, 0, 1) + b"\xff", "does not end"),
    ],
)
def test_hostile_fluid_files(tmp_path, content, message) -> None:
    refused(tmp_path / "params.pdparams", content(fluid_records()), message)


def test_impossible_paths_are_refused_by_name(tmp_path) -> None:
    long = "x" * 5000
    save_model(build_model(TINY, seed=0), tmp_path / "x")
    with pytest.raises(CheckpointError, match="x: no such file; expected a checkpoint"):
        load_model(long)
    with pytest.raises(CheckpointError, match=r"x: expected an \.npz"):
        load_model(tmp_path / "x", normalizer=long)
    with pytest.raises(CheckpointError, match="x: cannot be written"):
        save_model(build_model(TINY, seed=0), long)
    with pytest.raises(CheckpointError, match="found one on the meta device"):
        save_model(build_model(TINY, device="meta"), tmp_path / "y")
