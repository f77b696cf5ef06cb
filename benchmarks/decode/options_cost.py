"""What each option of our decoder costs: the easy set with the 3-gram, all variants in turn on each sentence.

python -m benchmarks.decode.options_cost [--emissions FOLDER] [--language-model FILE] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

import jiwer

from benchmarks.decode.inputs import (
    CACHE,
    DEFAULT_EMISSIONS,
    DEFAULT_MODEL,
    HERE,
    LABELS,
    load_sentences,
    plain_arpa,
    read_words,
)
from benchmarks.decode.summary import machine, write_json
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, Hypotheses, load_language_model

REPEATS = 5
BEAM = 100


def touch_words(hypotheses: Hypotheses) -> None:
    """Ask for what is made on demand: words with times and scores, of every hypothesis."""
    for hypothesis in hypotheses:
        assert hypothesis.words is not None


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode.options_cost")
    parser.add_argument("--emissions", type=Path, default=DEFAULT_EMISSIONS)
    parser.add_argument("--language-model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--output", type=Path, default=CACHE / "decode_options.json")
    options = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    arpa = plain_arpa(options.language_model)
    weights = json.loads((HERE / "weights.json").read_text())["weights"]["deepspeech2"]["easy"]
    base = {"beam_size": BEAM, "alpha": weights["alpha"], "beta": weights["beta"], "n_best": 1}
    words = [word for word in read_words(arpa) if set(word) <= set(LABELS)]
    hotwords = dict.fromkeys(words[:: max(1, len(words) // 50)][:50], 1.0)
    variants = {
        "nothing": {},
        "50 hot words": {"hotwords": hotwords},
        "10 hypotheses with words, times and scores": {"n_best": 10},
        "sentence end scored": {"score_end": True},
        "cutoff_prob 0.999": {"cutoff_prob": 0.999},
        "score threshold 10": {"beam_threshold": 10.0},
        "recombination": {"recombine": True},
        "look-ahead": {"lookahead": True},
        "the fast profile: the last three": {"lookahead": True, "recombine": True, "beam_threshold": 10.0},
    }
    model = load_language_model(arpa)
    decoders = {name: BeamDecoder(Alphabet(LABELS), BeamOptions(**base), model) for name in variants}
    for name, changes in variants.items():
        decoders[name].reset(**changes)
    sentences = load_sentences(options.emissions, "easy")
    times: dict[str, list[list[int]]] = {name: [[] for _ in sentences.log_probs] for name in variants}
    texts: dict[str, list[str]] = {name: [""] * len(sentences.log_probs) for name in variants}
    for _ in range(REPEATS):
        for index, log_probs in enumerate(sentences.log_probs):
            for name, decoder in decoders.items():
                start = time.process_time_ns()
                hypotheses = decoder.decode(log_probs)
                if decoder.options.n_best > 1:
                    touch_words(hypotheses)
                times[name][index].append(time.process_time_ns() - start)
                texts[name][index] = hypotheses[0].text
    frames = sum(map(len, sentences.log_probs))
    rows = [
        {
            "variant": name,
            "microseconds_per_frame": round(sum(map(median, times[name])) / frames / 1e3, 4),
            "wer": round(100 * jiwer.wer(sentences.transcripts, texts[name]), 3),
        }
        for name in variants
    ]
    for row in rows:
        row["times_nothing"] = round(row["microseconds_per_frame"] / rows[0]["microseconds_per_frame"], 3)
        print(row, file=sys.stderr)
    write_json(options.output, {"machine": machine(), "beam": BEAM, "repeats": REPEATS, "rows": rows})


if __name__ == "__main__":
    main()
