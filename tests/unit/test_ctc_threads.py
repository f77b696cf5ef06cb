"""A decoder that is changed, and a stream that is looked at, while another thread works with it.

What goes wrong here ends the process, so each case has a process of its own.
"""

import subprocess
import sys
from pathlib import Path

import pytest

WORDS = Path(__file__).parents[1] / "data" / "ctc" / "words.arpa"
START = f"""
import sys, threading, time
import numpy as np
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, load_language_model
from deepspeech2.errors import OptionError
sys.setswitchinterval(1e-5)
rng = np.random.default_rng(0)
log_probs = rng.normal(size=(60, 8)) * 2
log_probs -= np.log(np.exp(log_probs).sum(axis=1, keepdims=True))
decoder = BeamDecoder(Alphabet("aehnst "), BeamOptions(beam_size=20, alpha=0.8), load_language_model({str(WORDS)!r}))
expected = [[h.text for h in decoder.decode(log_probs)]]
decoder.reset(hotwords={{"sea": 9.0}})
expected.append([h.text for h in decoder.decode(log_probs)])
end = time.monotonic() + 1.5
faults = []
"""
RESET = """
def change():
    while time.monotonic() < end:
        decoder.reset(hotwords={"sea": 9.0})
        decoder.reset(hotwords={})
worker = threading.Thread(target=change)
worker.start()
while time.monotonic() < end:
    try:
        if [h.text for h in decoder.decode(log_probs)] not in expected:
            faults.append("neither the old options nor the new")
    except Exception as error:
        faults.append(repr(error))
worker.join()
"""
LOOK = """
stream = decoder.stream()
def look():
    while time.monotonic() < end:
        try:
            stream.best()
        except Exception as error:
            faults.append(repr(error))
worker = threading.Thread(target=look)
worker.start()
pushed = 0
while time.monotonic() < end and pushed < 200:
    stream.push(log_probs)
    pushed += 1
end = 0
worker.join()
found = stream.finish()
whole = decoder.decode(np.concatenate([log_probs] * pushed))
if found != whole or found.tally != whole.tally:
    faults.append("another result than in one piece")
"""


@pytest.mark.parametrize("case", [RESET, LOOK], ids=["reset", "best"])
def test_threads_do_not_disturb_each_other(case: str) -> None:
    code = START + case + "sys.exit(str(faults[:3]) if faults else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
