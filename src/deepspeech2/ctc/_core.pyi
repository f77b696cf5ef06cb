"""The native core; see native/bindings.cpp."""

from collections.abc import Sequence
from typing import Any, ClassVar

def simd() -> str: ...

class Unit:
    none: ClassVar[Unit]
    word: ClassVar[Unit]
    label: ClassVar[Unit]

class Compat:
    none: ClassVar[Compat]
    python: ClassVar[Compat]
    baidu: ClassVar[Compat]

class Options:
    beam_size: int
    n_best: int
    cutoff_top_n: int
    alpha: float
    beta: float
    cutoff_prob: float
    beam_threshold: float
    unknown_penalty: float
    score_end: bool
    lookahead: bool
    recombine: bool
    compat: Compat

class Task:
    columns: int
    blank: int
    delimiter: int
    unit: Unit
    has_model: bool
    closed: bool
    pauses: bool
    word_starts: bool
    silent: list[int]
    spelling: list[str]
    model_word: list[int]
    known: list[int]
    bonus: list[float]
    unigram: list[float]
    def set_lexicon(self, labels: Sequence[str], words: Sequence[str]) -> None: ...
    def number_words(self, model: Ngram, words: Sequence[str]) -> None: ...

class Ngram:
    order: int
    begin: int
    states: int
    @staticmethod
    def from_file(path: bytes, source_size: int, source_time: int) -> Ngram | None: ...
    def save(self, path: bytes, source_size: int, source_time: int) -> None: ...
    def find(self, word: str) -> int: ...
    def words(self) -> list[str]: ...
    def score(self, state: int, word: int) -> tuple[float, int]: ...
    def listed(self, state: int, word: int) -> tuple[float, float]: ...

class ArpaReader:
    def feed(self, piece: bytes) -> None: ...
    def finish(self) -> Ngram: ...

Answer = tuple[int, int, list[tuple[str, float, float, bytes]], tuple[int, int, int, int, int]]

class Decoder:
    def __init__(self, task: Task, language: Any | None) -> None: ...
    def set_options(self, options: Options) -> None: ...
    def memory(self) -> int: ...
    def with_bonus(self, bonus: dict[int, float]) -> Decoder: ...
    def decode(self, rows: Any) -> Answer: ...
    def decode_batch(self, matrices: list[Any], threads: int) -> list[Answer]: ...

class Stream:
    def __init__(self, decoder: Decoder) -> None: ...
    def push(self, rows: Any) -> tuple[int, int]: ...
    def best(self) -> Answer: ...
    def memory(self) -> int: ...
