"""Many symbols, of which a frame keeps 40: simulated posteriors of alphabets of syllables, characters and word pieces.

    python -m benchmarks.decode.wide_alphabets [--output FILE]

Ours and flashlight's lexicon-free decoder in turn on each utterance, in one process; processor time.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.decode.inputs import CACHE
from benchmarks.decode.summary import machine, write_json
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = (1_024, 4_334, 10_000)  # the second: the published Mandarin model
BEAMS = (16, 100)
KEPT = 40
UTTERANCES, FRAMES = 5, 200
REPEATS = 3
FIRST_CHARACTER = 0x4E00  # labels are this character and those that follow


def posteriors(columns: int, seed: int) -> np.ndarray:
    """Simulated log-probabilities, float32: in each frame the blank, the last column, and one label stand out."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(FRAMES, columns))
    frames, label = np.arange(FRAMES), random.integers(0, columns - 1, FRAMES)
    speaks = random.random(FRAMES) < 0.3
    logits[frames, np.where(speaks, label, columns - 1)] += 14.0
    logits[frames, np.where(speaks, columns - 1, label)] += 14.0 - 6.0 * random.random(FRAMES)
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def ours(columns: int, beam: int, kept: int) -> Callable[[np.ndarray], str]:
    """This package's search; the check of every row is part of its time."""
    alphabet = Alphabet([chr(FIRST_CHARACTER + label) for label in range(columns - 1)])
    decoder = BeamDecoder(alphabet, BeamOptions(beam_size=beam, cutoff_top_n=kept, cutoff_prob=1.0, n_best=1))
    return lambda log_probs: decoder.decode(log_probs)[0].text


def flashlight(columns: int, beam: int, threshold: float) -> Callable[[np.ndarray], str]:
    """flashlight-text without a lexicon or a model, paths of one prefix added up."""
    from flashlight.lib.text.decoder import CriterionType, LexiconFreeDecoder, LexiconFreeDecoderOptions, ZeroLM

    options = LexiconFreeDecoderOptions(beam, KEPT, threshold, 0.0, 0.0, True, CriterionType.CTC)
    blank = columns - 1
    decoder = LexiconFreeDecoder(options, ZeroLM(), -1, blank, [])

    def decode(log_probs: np.ndarray) -> str:
        tokens = decoder.decode(log_probs.ctypes.data, *log_probs.shape)[0].tokens
        changes = [token for token, before in zip(tokens, [-1, *tokens], strict=False) if token != before]
        return "".join(chr(FIRST_CHARACTER + token) for token in changes if 0 <= token < blank)

    return decode


def measure(columns: int, beam: int) -> list[dict[str, Any]]:
    """One row for each decoder, all in turn on each utterance."""
    decoders = {
        "deepspeech2": ours(columns, beam, KEPT),
        "deepspeech2, every symbol": ours(columns, beam, columns),
        "flashlight-text logadd": flashlight(columns, beam, 1e6),
        "flashlight-text logadd, threshold 10": flashlight(columns, beam, 10.0),
    }
    inputs = [posteriors(columns, seed) for seed in range(UTTERANCES)]
    times: dict[str, list[list[int]]] = {name: [[] for _ in inputs] for name in decoders}
    texts: dict[str, list[str]] = {name: [""] * len(inputs) for name in decoders}
    for _ in range(REPEATS):
        for index, log_probs in enumerate(inputs):
            for name, decode in decoders.items():
                start = time.process_time_ns()
                texts[name][index] = decode(log_probs)
                times[name][index].append(time.process_time_ns() - start)
    frames = UTTERANCES * FRAMES
    return [
        {
            "decoder": name,
            "columns": columns,
            "beam": beam,
            "microseconds_per_frame": round(sum(map(median, times[name])) / frames / 1e3, 3),
            "texts_as_deepspeech2": sum(map(str.__eq__, texts[name], texts["deepspeech2"])),
            "utterances": UTTERANCES,
        }
        for name in decoders
    ]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode.wide_alphabets")
    parser.add_argument("--output", type=Path, default=CACHE / "decode_wide.json")
    options = parser.parse_args()
    options.output.parent.mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    rows = []
    for columns in COLUMNS:
        for beam in BEAMS:
            rows += measure(columns, beam)
            print(columns, beam, [row["microseconds_per_frame"] for row in rows[-4:]], file=sys.stderr)
    write_json(options.output, {"machine": machine(), "load_before": load, "kept": KEPT, "rows": rows})


if __name__ == "__main__":
    main()
