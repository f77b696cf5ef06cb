"""Run the decoder benchmark: every decoder in turn on each block of sentences, on one core.

    python -m benchmarks.decode.run [--emissions FOLDER] [--language-model FILE] [--output FILE]

Every answer is saved as it comes, so that a run that was stopped goes on where it was; `--fresh` starts anew.
Times are processor time (one thread), the median of the repetitions of each sentence.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks.decode.decoders import ENTRIES, SETTINGS, Entry
from benchmarks.decode.inputs import (
    CACHE,
    DEFAULT_EMISSIONS,
    DEFAULT_MODEL,
    HERE,
    LABELS,
    SETS,
    digest,
    load_sentences,
    plain_arpa,
)
from benchmarks.decode.summary import summarise, write_json

BEAMS = (16, 100, 500)
BLOCK = 5


class Worker:
    """The other end of worker.py."""

    def __init__(self, entry: Entry, options: argparse.Namespace, weights: dict[str, Any], name: str) -> None:
        self.entry = entry
        self.set = name  # one process for each set, for their weights differ and some decoders take them once only
        self.error = ""
        self.facts: dict[str, Any] = {}
        self.process: subprocess.Popen[str] | None = None
        self.options = options
        chosen = weights.get(entry.weights or entry.name, {}).get(name, {"alpha": 0.0, "beta": 0.0})
        if entry.setting == "none":
            chosen = {"alpha": 0.0, "beta": 0.0}
        self.setup = {
            "adapter": entry.adapter,
            "model": str(options.arpa) if entry.setting == "model" else None,
            "emissions": str(options.emissions),
            "set": name,
            "alpha": chosen["alpha"],
            "beta": chosen["beta"],
        }

    def start(self) -> None:
        """Start the process and build the decoder; a peer that is not there is left out, with the reason."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.decode.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(CACHE / "workers.log").open("a"),
            text=True,
            env=environment,
        )
        try:
            self.facts = self.ask(self.setup)
        except (BrokenPipeError, json.JSONDecodeError):
            self.process.wait()
            tail = (CACHE / "workers.log").read_text().strip().splitlines()[-1:]
            self.error = tail[0] if tail else f"exit status {self.process.returncode}"

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        if self.process is None:
            self.start()
        assert self.process is not None and self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def stop(self) -> None:
        """End the process."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()


def plan(options: argparse.Namespace, workers: list[Worker], sentences: int) -> list[tuple[Worker, dict[str, Any]]]:
    """List the work of one setting: beams rising (so that peak memory belongs to a beam), decoders in turn."""
    steps = []
    for beam, repeat, name in product(options.beams, range(options.repeats), SETS):
        for block in range(0, sentences, BLOCK):
            here = [worker for worker in workers if worker.set == name]
            turn = (block // BLOCK + repeat) % len(here)  # nobody is always first
            for worker in here[turn:] + here[:turn]:
                limit = worker.entry.limit(beam, sentences)
                if repeat < worker.entry.repetitions(beam, options.repeats) and block < limit:
                    wanted = list(range(block, min(block + BLOCK, limit)))
                    steps.append((worker, {"set": name, "beam": beam, "repeat": repeat, "sentences": wanted}))
    return steps


def run(options: argparse.Namespace) -> None:
    """Do what is not yet done, then write the summary."""
    weights = json.loads(options.weights.read_text())["weights"]
    data = {name: load_sentences(options.emissions, name) for name in SETS}
    inputs = {
        "emissions": {name: digest(options.emissions / f"{name}.npz") for name in SETS},
        "language_model": digest(options.language_model),
        "labels": LABELS,
        "sentences": {name: len(part.log_probs) for name, part in data.items()},
        "frames": {name: sum(map(len, part.log_probs)) for name, part in data.items()},
    }
    saved = options.output.with_suffix(".partial.jsonl")
    if options.fresh:
        saved.unlink(missing_ok=True)
    done = [json.loads(line) for line in saved.read_text().splitlines()] if saved.exists() else []
    keys = {json.dumps(record["key"], sort_keys=True) for record in done}
    sentences = min(options.sentences, *(len(part.log_probs) for part in data.values()))
    facts: dict[str, Any] = {}
    with saved.open("a") as log, Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        for setting in options.settings:
            chosen = [e for e in ENTRIES if e.setting == setting and (not options.only or e.name in options.only)]
            workers = [Worker(entry, options, weights, name) for entry, name in product(chosen, SETS)]
            for worker, request in progress.track(plan(options, workers, sentences), description=setting):
                key = {"decoder": worker.entry.name, "setting": setting, "setup": worker.setup, **request}
                if worker.error or json.dumps(key, sort_keys=True) in keys:
                    continue
                if worker.process is None:
                    worker.start()
                    facts[f"{worker.entry.name}/{setting}"] = worker.facts or {"error": worker.error}
                    progress.console.print(worker.entry.name, setting, worker.set, worker.error or worker.facts)
                    if worker.error:
                        continue
                    # Not recorded: the first sentence pays for imports and caches.
                    worker.ask(request | {"sentences": [0]})
                record = {"key": key, "facts": worker.facts, "answer": worker.ask(request)}
                done.append(record)
                print(json.dumps(record), file=log, flush=True)
            for worker in workers:
                worker.stop()
    missing = {name: fact["error"] for name, fact in facts.items() if "error" in fact}
    write_json(options.output, summarise(done, data, inputs, missing))
    print(f"wrote {options.output}", file=sys.stderr)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode.run", description=__doc__.split("\n")[0])
    parser.add_argument("--emissions", type=Path, default=DEFAULT_EMISSIONS, help="folder of easy.npz and hard.npz")
    parser.add_argument("--language-model", type=Path, default=DEFAULT_MODEL, help="ARPA file, .gz allowed")
    parser.add_argument("--weights", type=Path, default=HERE / "weights.json", help="alpha and beta of each decoder")
    parser.add_argument("--output", type=Path, default=CACHE / "decode.json", help="where the summary is written")
    parser.add_argument("--beams", type=int, nargs="+", default=list(BEAMS))
    parser.add_argument("--repeats", type=int, default=3, help="times each sentence is decoded; the median counts")
    parser.add_argument("--sentences", type=int, default=50, help="sentences of each set")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--only", nargs="+", default=[], help="names of decoders")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run saved")
    options = parser.parse_args(arguments)
    options.beams.sort()
    CACHE.mkdir(exist_ok=True)
    options.arpa = plain_arpa(options.language_model)
    return options


if __name__ == "__main__":
    run(parse())
