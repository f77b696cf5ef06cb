"""What a second thread gives: `decode_batch` on both sets at once, one thread and several in turn, wall time.

python -m benchmarks.decode.threads [--emissions FOLDER] [--language-model FILE] [--output FILE] [--threads 2]

Wants the cores for itself: the load before it began and the processor time it got are written beside the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from itertools import product
from pathlib import Path
from statistics import median

from benchmarks.decode.inputs import (
    CACHE,
    DEFAULT_EMISSIONS,
    DEFAULT_MODEL,
    HERE,
    LABELS,
    SETS,
    load_sentences,
    plain_arpa,
)
from benchmarks.decode.summary import machine, write_json
from deepspeech2.ctc import Alphabet, BeamDecoder, BeamOptions, load_language_model

BEAMS = (16, 100, 500)
REPEATS = 9


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode.threads")
    parser.add_argument("--emissions", type=Path, default=DEFAULT_EMISSIONS)
    parser.add_argument("--language-model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--output", type=Path, default=CACHE / "decode_threads.json")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    weights = json.loads((HERE / "weights.json").read_text())["weights"]["deepspeech2"]["hard"]
    weights = {name: weights[name] for name in ("alpha", "beta")}
    model = load_language_model(plain_arpa(options.language_model))
    decoders = {
        "no model": BeamDecoder(Alphabet(LABELS), BeamOptions(n_best=1)),
        "3-gram": BeamDecoder(Alphabet(LABELS), BeamOptions(n_best=1, **weights), model),
        "3-gram, fast": BeamDecoder(Alphabet(LABELS), BeamOptions.fast(n_best=1, **weights), model),
    }
    batch = [log_probs for name in SETS for log_probs in load_sentences(options.emissions, name).log_probs]
    load = os.getloadavg()[0]
    rows = []
    for (name, decoder), beam in product(decoders.items(), BEAMS):
        decoder.reset(beam_size=beam)
        rows.append({"decoder": name, "beam": beam, **measure(decoder, batch, options.threads)})
        print(rows[-1], file=sys.stderr)
    content = {"machine": machine(), "processors": os.cpu_count(), "load_before": load, "threads": options.threads}
    write_json(options.output, {**content, "repeats": REPEATS, "rows": rows})


def measure(decoder: BeamDecoder, batch: list, threads: int) -> dict[str, float]:
    """Decode the batch with one thread and with several, in turn; the median of the ratios of neighbours."""
    ratios, alone, together, shares = [], [], [], []
    expected = decoder.decode_batch(batch, threads=threads)
    for _ in range(REPEATS):
        start = time.perf_counter()
        one = decoder.decode_batch(batch, threads=1)
        middle, processor = time.perf_counter(), time.process_time()
        several = decoder.decode_batch(batch, threads=threads)
        end, used = time.perf_counter(), time.process_time() - processor
        assert one == several == expected
        alone.append(middle - start)
        together.append(end - middle)
        ratios.append(alone[-1] / together[-1])
        shares.append(used / together[-1] / threads)
    return {
        "seconds_one": round(median(alone), 4),
        "seconds_several": round(median(together), 4),
        "times_faster": round(median(ratios), 3),
        "best_over_best": round(min(alone) / min(together), 3),
        # Below 1 the threads waited: for each other or for a processor that others had.
        "processor_share": round(median(shares), 3),
    }


if __name__ == "__main__":
    main()
