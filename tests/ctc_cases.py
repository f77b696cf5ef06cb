"""Random language models and posteriors for the decoder's tests, and oracles that share no code with it."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray


def random_posteriors(rng: Generator, frames: int, columns: int, spread: float) -> NDArray[np.float64]:
    logits = rng.normal(size=(frames, columns)) * spread
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def write_arpa(path: Path, words: list[str], order: int, rng: Generator, *, unknown: bool = True) -> Path:
    """A backoff model in which every n-gram's beginning and ending are n-grams too, as KenLM wants it."""
    vocabulary = ["<s>", "</s>", *(["<unk>"] if unknown else []), *words]
    levels: list[list[tuple[str, ...]]] = [[(word,) for word in vocabulary]]
    for n in range(2, order + 1):
        shorter = set(levels[-1])
        levels.append(
            [
                (*context, word)
                for context in levels[-1]
                if context[-1] != "</s>" and "<unk>" not in context
                for word in vocabulary
                if word not in ("<s>", "<unk>") and (n == 2 or (*context[1:], word) in shorter) and rng.random() < 0.35
            ]
        )
    lines = ["\\data\\", *(f"ngram {n}={len(level)}" for n, level in enumerate(levels, 1))]
    for n, level in enumerate(levels, 1):
        lines += ["", f"\\{n}-grams:"]
        for ngram in level:
            backoff = f"\t{-rng.random():.4f}" if n < order and rng.random() < 0.8 else ""
            lines.append(f"{-3 * rng.random():.4f}\t{' '.join(ngram)}{backoff}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]))
    return path


class ArpaOracle:
    """The textbook recursion over a dictionary: P(w | h) is there, or backs off."""

    def __init__(self, path: Path) -> None:
        self.log10: dict[tuple[str, ...], float] = {}
        self.backoff: dict[tuple[str, ...], float] = {}
        order = 0
        for line in path.read_text().splitlines():
            if line.endswith("-grams:"):
                order = int(line[1:-7])
            elif order and line and not line.startswith("\\"):
                fields = line.split()
                ngram = tuple(fields[1 : order + 1])
                self.log10[ngram] = float(fields[0])
                self.backoff[ngram] = float(fields[order + 1]) if len(fields) > order + 1 else 0.0
        self.order = order

    def score(self, history: tuple[str, ...], word: str) -> float:
        word = word if (word,) in self.log10 else "<unk>"
        history = tuple(w if (w,) in self.log10 else "<unk>" for w in history)
        history = history[max(0, len(history) - self.order + 1) :]
        if (*history, word) in self.log10:
            return self.log10[*history, word]
        if not history:
            return -100.0
        return self.backoff.get(history, 0.0) + self.score(history[1:], word)


def texts_by_enumeration(log_probs: NDArray[np.float64], blank: int) -> dict[tuple[int, ...], float]:
    """ln of the summed probability of all alignments, for every label sequence there is."""
    frames, columns = log_probs.shape
    sums: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(columns), repeat=frames):
        labels = tuple(column for column, _ in itertools.groupby(path) if column != blank)
        probability = math.exp(sum(float(log_probs[t, column]) for t, column in enumerate(path)))
        sums[labels] = sums.get(labels, 0.0) + probability
    return {labels: math.log(total) for labels, total in sums.items() if total > 0}
