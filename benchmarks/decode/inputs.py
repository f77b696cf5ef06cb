"""The sentences and the language model of the decoder benchmark."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
LABELS = "abcdefghijklmnopqrstuvwxyz' "
SETS = ("easy", "hard")
DEFAULT_EMISSIONS = HERE / "inputs"
DEFAULT_MODEL = HERE / "inputs" / "pruned3.arpa.gz"


@dataclass(frozen=True)
class Sentences:
    """One set: log-probabilities (time, vocab + 1) of each sentence, and what was said."""

    log_probs: list[np.ndarray]
    transcripts: list[str]


def load_sentences(folder: Path, name: str) -> Sentences:
    """Read `name`.npz: `log_probs` of all sentences in one matrix, `offsets`, `transcripts`.

    The shipped files hold float16; every row is normalised again in float32 after reading.
    """
    with np.load(folder / f"{name}.npz", allow_pickle=False) as data:
        rows, offsets = data["log_probs"], data["offsets"]
        transcripts = [str(text) for text in data["transcripts"]]
    if rows.dtype != np.float32:
        rows = rows.astype(np.float64)
        rows = (rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)).astype(np.float32)
    return Sentences([np.ascontiguousarray(rows[start:stop]) for start, stop in pairwise(offsets)], transcripts)


def plain_arpa(model: Path) -> Path:
    """Return the model as an uncompressed ARPA file, unpacked once: no peer but one reads gzip."""
    if model.suffix != ".gz":
        return model
    CACHE.mkdir(exist_ok=True)
    target = CACHE / f"{digest(model)[:12]}-{model.stem}"
    if not target.exists():
        part = target.with_suffix(".part")
        with gzip.open(model, "rb") as packed, part.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
        part.replace(target)
    return target


def read_words(arpa: Path) -> tuple[str, ...]:
    """Return the words of an ARPA file, without its three special ones."""
    words = []
    with arpa.open(encoding="utf-8") as lines:
        in_unigrams = False
        for line in lines:
            if line.startswith("\\"):
                if in_unigrams:
                    break
                in_unigrams = line.startswith("\\1-grams:")
            elif in_unigrams and line.strip():
                words.append(line.split("\t")[1].strip())
    return tuple(word for word in words if word not in ("<unk>", "<s>", "</s>"))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
