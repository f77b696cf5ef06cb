"""Any damaged checkpoint either loads to a finite network or raises a CheckpointError of one line, nothing else."""

import gzip
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deepspeech2.errors import CheckpointError
from deepspeech2.speech.checkpoints import load_model, save_model

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "rnn_unshared"


@cache
def originals():
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "own"
        save_model(load_model(GOLDEN), own)
        content = own.read_bytes()
    packed = (GOLDEN / "params.tar.gz").read_bytes()
    return {
        "gzip": packed,
        "tar": gzip.decompress(packed),
        "fluid": (GOLDEN / "params.pdparams").read_bytes(),
        "own": content,
    }


def load(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            model = load_model(file.name)
        except CheckpointError as error:
            assert "\n" not in str(error)
            assert str(error).startswith(file.name)
            return
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())
    assert model.output.weight.shape == (model.options.vocab_size + 1, 2 * model.options.recurrent_size)


kinds = st.sampled_from(["gzip", "tar", "fluid", "own"])
# Headers are where damage is interesting, and they are a small part of a file: half the places are near one.
places = st.one_of(st.floats(0, 1), st.integers(0, 4000))


def at(place, content: bytes) -> int:
    if isinstance(place, float):
        return min(int(place * len(content)), len(content) - 1)
    return place % len(content)


@settings(max_examples=150, deadline=None)
@given(kind=kinds, place=places, flips=st.binary(min_size=1, max_size=12))
@example(kind="own", place=0, flips=b"\xff" * 8)
def test_changed_bytes(kind, place, flips) -> None:
    content = bytearray(originals()[kind])
    start = at(place, content)
    content[start : start + len(flips)] = flips
    load(bytes(content))


@settings(max_examples=100, deadline=None)
@given(kind=kinds, place=places)
def test_truncated_files_never_load(kind, place) -> None:
    content = originals()[kind]
    cut = content[: at(place, content)]
    # A tar may lack its closing zeros; everything else that is cut misses something.
    if kind == "tar" and not any(content[len(cut) :]):
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(cut)
        file.flush()
        with pytest.raises(CheckpointError):
            load_model(file.name)


@settings(max_examples=60, deadline=None)
@given(kind=kinds, place=places, width=st.integers(1, 3000), inserted=st.binary(max_size=600))
def test_removed_and_inserted_pieces(kind, place, width, inserted) -> None:
    content = originals()[kind]
    start = at(place, content)
    load(content[:start] + inserted + content[start + width :])
