"""Make the inputs that are shipped with the benchmark from the full ones.

    python -m benchmarks.decode.reduce_inputs EMISSIONS_FOLDER MODEL.arpa.gz

Emissions: the same sentences in float16. Model: every word stays; of the longer n-grams those stay whose loss would
change the model most, by the weighted difference p(history, word) * (log p - log backed-off p) of Seymore and
Rosenfeld (1996), and the back-off weights are computed anew, so that each history still sums to one.
"""

from __future__ import annotations

import gzip
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.decode.inputs import DEFAULT_EMISSIONS, DEFAULT_MODEL, SETS

KEEP = {2: 130_000, 3: 60_000}
Ngrams = dict[tuple[str, ...], tuple[float, float]]


def reduce_emissions(folder: Path) -> None:
    """Write each set in float16."""
    for name in SETS:
        with np.load(folder / f"{name}.npz", allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files}
        arrays["log_probs"] = arrays["log_probs"].astype(np.float16)
        np.savez_compressed(DEFAULT_EMISSIONS / f"{name}.npz", allow_pickle=False, **arrays)


def read_arpa(path: Path) -> list[Ngrams]:
    """Return one table for each order: words -> log10 probability and log10 back-off weight."""
    orders: list[Ngrams] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            fields = line.rstrip("\n").split("\t")
            if line.startswith("\\") and line.rstrip().endswith("-grams:"):
                orders.append({})
            elif orders and len(fields) >= 2:
                words = tuple(fields[1].split(" "))
                orders[-1][words] = (float(fields[0]), float(fields[2]) if len(fields) > 2 else 0.0)
    return orders


def probability(orders: list[Ngrams], words: tuple[str, ...]) -> float:
    """Return log10 of the probability of the last word after the others."""
    found = orders[len(words) - 1].get(words)
    if found is not None:
        return found[0]
    if len(words) == 1:
        return orders[0][("<unk>",)][0]
    history = orders[len(words) - 2].get(words[:-1])
    return (history[1] if history else 0.0) + probability(orders, words[1:])


def prune(orders: list[Ngrams]) -> list[Ngrams]:
    """Keep the n-grams that matter most, and whatever they lean on."""
    kept: list[Ngrams] = [dict(orders[0]), *({} for _ in orders[1:])]
    needed: set[tuple[str, ...]] = set()
    for order in range(len(orders), 1, -1):
        losses = {}
        for words, (score, _) in orders[order - 1].items():
            history = orders[order - 2].get(words[:-1])
            lower = (history[1] if history else 0.0) + probability(orders, words[1:])
            joint = score
            for length in range(order - 1, 0, -1):
                joint += 0.0 if words[:length] == ("<s>",) else probability(orders, words[:length])
            losses[words] = 10.0**joint * (score - lower)
        best = sorted(losses, key=lambda words: -abs(losses[words]))[: KEEP[order]]
        for words in needed | set(best):
            kept[order - 1][words] = orders[order - 1][words]
        needed = {part for words in kept[order - 1] for part in (words[:-1], words[1:]) if part in orders[order - 2]}
    return renormalise(kept)


def renormalise(orders: list[Ngrams]) -> list[Ngrams]:
    """Give every history the back-off weight that makes it sum to one."""
    for order in range(2, len(orders) + 1):
        seen: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for words, (score, _) in orders[order - 1].items():
            mass = seen[words[:-1]]
            mass[0] += 10.0**score
            mass[1] += 10.0 ** probability(orders[: order - 1], words[1:])
        table = orders[order - 2]
        for words, (score, _) in table.items():
            explicit, lower = seen.get(words, (0.0, 0.0))
            left, over = max(1.0 - explicit, 1e-6), max(1.0 - lower, 1e-6)
            table[words] = (score, math.log10(left / over) if words in seen else 0.0)
    return orders


def write_arpa(orders: list[Ngrams], path: Path) -> None:
    """Write the model, packed, without a time in the header, so that the same model is the same file."""
    lines = ["\\data\\", *(f"ngram {order}={len(table)}" for order, table in enumerate(orders, 1)), ""]
    for order, table in enumerate(orders, 1):
        lines.append(f"\\{order}-grams:")
        for words, (score, weight) in sorted(table.items()):
            tail = f"\t{weight:.4g}" if order < len(orders) and weight else ""
            lines.append(f"{score:.5g}\t{' '.join(words)}{tail}")
        lines.append("")
    lines += ["\\end\\", ""]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


if __name__ == "__main__":
    DEFAULT_EMISSIONS.mkdir(exist_ok=True)
    reduce_emissions(Path(sys.argv[1]))
    write_arpa(prune(read_arpa(Path(sys.argv[2]))), DEFAULT_MODEL)
