"""Every set of vector instructions gives the same numbers, bit for bit."""

import os
import subprocess
import sys

CODE = """
import numpy as np
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, _core
rng = np.random.default_rng(0)
logits = rng.normal(size=(120, 29)).astype(np.float32) * 2
logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
for beam in (1, 7, 64, 333):
    decoder = BeamDecoder(Alphabet([chr(97 + i) for i in range(28)]), BeamOptions(beam_size=beam, hotwords={}))
    for h in decoder.decode(logits):
        print(h.text, h.score.hex(), [(c.start, c.end) for c in h.characters])
wide = rng.normal(size=(20, 1100)).astype(np.float32) * 4
wide -= np.log(np.exp(wide).sum(axis=1, keepdims=True))
for cutoffs in ({"cutoff_top_n": 7}, {"cutoff_prob": 0.9}, {"cutoff_prob": 0.99, "cutoff_top_n": 60}, {}):
    decoder = BeamDecoder(Alphabet([chr(0x4E00 + i) for i in range(1099)]), BeamOptions(beam_size=50, **cutoffs))
    for h in decoder.decode(wide):
        print(h.text, h.score.hex())
print(_core.simd())
"""


def run(simd: str) -> tuple[int, list[str], str]:
    environment = {**os.environ, "DEEPSPEECH2_SIMD": simd}
    result = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout.splitlines(), result.stderr


def test_all_sets_this_processor_has_agree() -> None:
    status, expected, _ = run("portable")
    assert status == 0
    assert expected[-1] == "portable"
    for simd in ("avx2", "avx512"):
        status, found, error = run(simd)
        if status:
            assert "within what this processor runs" in error
            continue
        assert found[-1] == simd
        assert found[:-1] == expected[:-1]


def test_an_unknown_set_is_refused() -> None:
    status, _, error = run("mmx")
    assert status != 0
    assert "OptionError: DEEPSPEECH2_SIMD should be portable, avx2 or avx512" in error
    assert "'mmx'" in error
