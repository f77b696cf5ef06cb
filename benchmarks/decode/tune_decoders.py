"""Find alpha and beta of every decoder of the benchmark, for each set, and write weights.json.

    python -m benchmarks.decode.tune_decoders [--emissions FOLDER] [--language-model FILE] [--only NAME ...]

Every decoder gets the same treatment, the search of `ds2 tune`, at beam 100. The sentences are those of the benchmark
itself, so that every decoder is seen at its best: the error rates compare searches and say nothing of new speech.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import jiwer

from benchmarks.decode.decoders import ENTRIES, Entry
from benchmarks.decode.inputs import CACHE, DEFAULT_EMISSIONS, DEFAULT_MODEL, HERE, SETS, load_sentences, plain_arpa
from benchmarks.decode.run import Worker
from benchmarks.decode.summary import write_json
from deepspeech2.ctc.tuning import TuningOptions, TuningResult, best_of, search

GRID = TuningOptions(alpha=(0.3, 0.7), beta=(0.5, 2.5), alphas=3, betas=3, refinements=1)
BEAM = 100
SLOW_SENTENCES = 6


def evaluate(entry: Entry, options: argparse.Namespace, name: str, alpha: float, beta: float) -> TuningResult:
    """Decode one set with one pair of weights."""
    worker = Worker(entry, options, {entry.name: {name: {"alpha": alpha * unit(entry), "beta": beta}}}, name)
    worker.start()
    if worker.error:
        raise RuntimeError(f"{entry.name}: {worker.error}")
    texts = load_sentences(options.emissions, name).transcripts
    said = texts[: SLOW_SENTENCES if entry.sentences else len(texts)]
    heard = worker.ask({"set": name, "beam": BEAM, "sentences": list(range(len(said)))})["texts"]
    worker.stop()
    result = TuningResult(alpha, beta, jiwer.wer(said, heard), jiwer.cer(said, heard))
    print(entry.name, name, result, file=sys.stderr)
    return result


def unit(entry: Entry) -> float:
    """Return what alpha in nats is multiplied with for this decoder: flashlight takes log10 as it is."""
    return math.log(10) if entry.name.startswith("flashlight") else 1.0


def tune(entry: Entry, options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Search one set."""
    tried = search(lambda alpha, beta: evaluate(entry, options, name, alpha, beta), GRID)
    best = best_of(tried.values())
    return {"alpha": best.alpha * unit(entry), "beta": best.beta, "wer": round(100 * best.wer, 3), "points": len(tried)}


def main() -> None:
    """Tune what was asked for, keep the rest."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode.tune_decoders")
    parser.add_argument("--emissions", type=Path, default=DEFAULT_EMISSIONS)
    parser.add_argument("--language-model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--only", nargs="+", default=[])
    options = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    options.arpa = plain_arpa(options.language_model)
    path = HERE / "weights.json"
    for entry in ENTRIES:
        wanted = not options.only or entry.name in options.only
        if entry.setting == "model" and wanted and not entry.weights:
            tuned = {name: tune(entry, options, name) for name in SETS}
            content = json.loads(path.read_text())
            content["weights"][entry.name] = tuned
            write_json(path, content)


if __name__ == "__main__":
    main()
