"""One decoder in a process of its own, so that its memory is its own: a line of JSON in, a line of JSON out.

The first line is the setup; each following line names a set, a beam and the sentences to decode.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from benchmarks.decode.inputs import LABELS, load_sentences, read_words
from benchmarks.peers.ctc_interface import DecoderSetup

if TYPE_CHECKING:
    from benchmarks.peers.ctc_interface import BenchmarkDecoder


def peak_bytes() -> int:
    """Return the highest resident memory of this process so far.

    On Linux from /proc, because getrusage hands the peak of the parent on to its child.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def build(request: dict[str, Any]) -> BenchmarkDecoder:
    """Import the adapter and build it."""
    module, name = request["adapter"].split(":")
    model = Path(request["model"]) if request["model"] else None
    words = read_words(model) if model else ()
    setup = DecoderSetup(LABELS, model, words, request["alpha"], request["beta"])
    decoder: BenchmarkDecoder = getattr(import_module(module), name)(setup)
    return decoder


def decode(decoder: BenchmarkDecoder, prepared: list[Any], request: dict[str, Any]) -> dict[str, Any]:
    """Decode the sentences asked for; processor and wall time of each, and its text."""
    decoder.set_beam(request["beam"])
    cpu, wall, texts, failures = [], [], [], []
    for index in request["sentences"]:
        wall_start, cpu_start = time.perf_counter_ns(), time.process_time_ns()
        try:
            text = decoder.decode(prepared[index])
        except Exception as error:  # a peer that fails on a sentence is recorded, and the run goes on
            text = ""
            failures.append(f"{type(error).__name__}: {error}")
        cpu.append(time.process_time_ns() - cpu_start)
        wall.append(time.perf_counter_ns() - wall_start)
        texts.append(text)
    return {"cpu": cpu, "wall": wall, "texts": texts, "failures": failures, "peak_bytes": peak_bytes()}


def main() -> None:
    """Serve until the input ends."""
    # Libraries print to standard output; the answers get a descriptor of their own.
    answers: TextIO = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    start = time.perf_counter()
    decoder = build(request)
    ready = {
        "version": metadata.version(decoder.package),
        "package": decoder.package,
        "load_seconds": time.perf_counter() - start,
        "loaded_bytes": peak_bytes(),
    }
    print(json.dumps(ready), file=answers, flush=True)
    sentences = load_sentences(Path(request["emissions"]), request["set"])
    prepared = [decoder.prepare(log_probs) for log_probs in sentences.log_probs]
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(decode(decoder, prepared, request)), file=answers, flush=True)


if __name__ == "__main__":
    main()
