"""Batches on threads: the same as one after the other, and nothing lost when something goes wrong."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ctc_cases import random_posteriors
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, load_language_model
from deepspeech2.ctc.ngram_model import NgramModel

DATA = Path(__file__).parents[1] / "data" / "ctc"
LETTERS = Alphabet("aehnst ")
OPTIONS = BeamOptions(beam_size=20, alpha=0.8)


def batch(lengths: list[int]) -> list[np.ndarray]:
    kinds = (np.float32, np.float64, np.float16)
    return [
        random_posteriors(np.random.default_rng(seed), frames, LETTERS.columns, 2.0).astype(kinds[seed % 3])
        for seed, frames in enumerate(lengths)
    ]


@pytest.mark.parametrize("threads", [2, 3, 64])
@pytest.mark.parametrize("name", ["words.arpa", "words.trie.klm"])
def test_threads_change_nothing(name: str, threads: int) -> None:
    if name.endswith(".klm"):
        pytest.importorskip("kenlm")
    decoder = BeamDecoder(LETTERS, OPTIONS, load_language_model(DATA / name))
    matrices = batch([3, 200, 1, 90, 90, 17, 400, 2, 60, 5])
    expected = [decoder.decode(matrix) for matrix in matrices]
    for _ in range(3):
        found = decoder.decode_batch(iter(matrices), threads=threads)
        assert found == expected
        assert [f.tally for f in found] == [e.tally for e in expected]


def test_a_batch_of_none_is_empty() -> None:
    assert BeamDecoder(LETTERS, OPTIONS).decode_batch([], threads=4) == []


def test_what_a_model_raises_on_a_thread_reaches_the_caller() -> None:
    inner = NgramModel(DATA / "words.arpa", cache=False)

    class Failing:
        path, order, broken = inner.path, inner.order, True
        words, begin, null, __contains__ = inner.words, inner.begin, inner.null, inner.__contains__

        def score(self, state: int, word: str) -> tuple[float, int]:
            if self.broken and state:
                raise ZeroDivisionError(word)
            return inner.score(state, word)

    model = Failing()
    decoder = BeamDecoder(LETTERS, OPTIONS, model)
    matrices = batch([30] * 12)
    with pytest.raises(ZeroDivisionError):
        decoder.decode_batch(matrices, threads=3)
    model.broken = False
    ours = BeamDecoder(LETTERS, OPTIONS, inner).decode_batch(matrices, threads=3)
    assert decoder.decode_batch(matrices, threads=3) == ours


INTERRUPTED = """
import os, signal, threading
import numpy as np
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions
rng = np.random.default_rng(0)
matrix = rng.normal(size=(2000, 29)) * 0.1
matrix -= np.log(np.exp(matrix).sum(axis=1, keepdims=True))
decoder = BeamDecoder(Alphabet([chr(97 + i) for i in range(28)]), BeamOptions(beam_size=500))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell inherits that it is ignored
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    decoder.decode_batch([matrix] * 2000, threads=2)
except KeyboardInterrupt:
    print("interrupted", len(decoder.decode_batch([matrix[:9]] * 3, threads=2)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_batch_can_be_interrupted() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted 3\n", "")
