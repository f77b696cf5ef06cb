"""Find alpha and beta of every decoder of the benchmark, on one grid, and write weights.json.

    python -m benchmarks.decode.tune_decoders [--emissions FOLDER] [--language-model FILE] [--only NAME ...]

Every decoder gets the same treatment: beam 100, the word error rate of the easy and the hard set together, a coarse
grid, then a finer one around its best point. The sentences are those of the benchmark, so the error rates compare
searches and say nothing of new speech.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from itertools import product
from pathlib import Path
from typing import Any

import jiwer

from benchmarks.decode.decoders import ENTRIES, Entry
from benchmarks.decode.inputs import CACHE, DEFAULT_EMISSIONS, DEFAULT_MODEL, HERE, SETS, load_sentences, plain_arpa
from benchmarks.decode.run import Worker
from benchmarks.decode.summary import write_json

ALPHAS = (0.2, 0.4, 0.6, 0.8, 1.0)
BETAS = (-1.0, 0.0, 1.0, 2.0)
STEP = (0.1, 0.5)  # of the finer grid, around the best
SLOW_BEAM, SLOW_SENTENCES = 16, 20


def error_rates(entry: Entry, options: argparse.Namespace, alpha: float, beta: float) -> tuple[float, dict[str, float]]:
    """Return the word error rate of both sets together, and of each, in percent."""
    # flashlight takes log10 probabilities as they are.
    scale = math.log(10) if entry.name.startswith("flashlight") else 1.0
    weights = {entry.name: {"alpha": alpha * scale, "beta": beta}}
    worker = Worker(entry, options, weights)
    worker.start()
    if worker.error:
        raise RuntimeError(f"{entry.name}: {worker.error}")
    said, heard, each = [], [], {}
    for name in SETS:
        texts = load_sentences(options.emissions, name).transcripts
        count = SLOW_SENTENCES if entry.sentences else len(texts)
        request = {"set": name, "beam": SLOW_BEAM if entry.sentences else 100, "sentences": list(range(count))}
        answer = worker.ask(request)
        each[name] = round(100 * jiwer.wer(texts[:count], answer["texts"]), 3)
        said += texts[:count]
        heard += answer["texts"]
    worker.stop()
    return round(100 * jiwer.wer(said, heard), 3), each


def tune(entry: Entry, options: argparse.Namespace) -> dict[str, Any]:
    """Search the two grids."""
    found: dict[tuple[float, float], tuple[float, dict[str, float]]] = {}

    def best_of(points: list[tuple[float, float]]) -> tuple[float, float]:
        for point in points:
            if point not in found:
                found[point] = error_rates(entry, options, *point)
                print(entry.name, point, found[point], file=sys.stderr)
        return min(found, key=lambda point: (found[point][0], point))

    alpha, beta = best_of(list(product(ALPHAS, BETAS)))
    offsets = product((-STEP[0], 0.0, STEP[0]), (-STEP[1], 0.0, STEP[1]))
    alpha, beta = best_of([(round(alpha + first, 3), beta + second) for first, second in offsets])
    scale = math.log(10) if entry.name.startswith("flashlight") else 1.0
    lowest = {name: min(each[name] for _, each in found.values()) for name in SETS}
    return {
        "alpha": alpha * scale,
        "beta": beta,
        "wer": found[alpha, beta][1],
        "lowest_wer_of_the_grid": lowest,
        "beam": SLOW_BEAM if entry.sentences else 100,
        "points": len(found),
    }


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
            tuned = tune(entry, options)
            content = json.loads(path.read_text())
            content["weights"][entry.name] = tuned
            write_json(path, content)


if __name__ == "__main__":
    main()
