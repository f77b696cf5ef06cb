import io
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech2.ctc.posteriors_file import read_posteriors
from deepspeech2.errors import PosteriorsError

ROWS = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)


def saved(write, **arrays) -> bytes:
    buffer = io.BytesIO()
    write(buffer, **arrays)
    return buffer.getvalue()


INTACT = (
    saved(lambda buffer: np.save(buffer, ROWS)),
    saved(np.savez, x=ROWS, offsets=np.array([0, 20])),
    saved(np.savez_compressed, log_probs=ROWS, offsets=np.array([0, 5, 20]), transcripts=np.array(["a", "b"])),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(INTACT), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4), st.data())
def test_damage_is_one_error_or_harmless(intact: bytes, changes: list[tuple[int, int]], data: st.DataObject) -> None:
    damaged = bytearray(intact[: data.draw(st.integers(0, len(intact)))] if data.draw(st.booleans()) else intact)
    for place, value in changes:
        if damaged:
            damaged[place % len(damaged)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npz"
        path.write_bytes(damaged)
        try:
            for utterance in read_posteriors(path):
                utterance.load()
        except PosteriorsError as error:
            assert "x.npz" in str(error)
            assert "\n" not in str(error)
