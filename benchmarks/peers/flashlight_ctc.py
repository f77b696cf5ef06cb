"""flashlight-text: lexicon-free without a model, lexicon and KenLM with one.

No symbol is pruned (`beam_size_token` is the whole alphabet). Without a model the score threshold is out of reach,
so that the search is exact within its beam; with one it is 50 nats, the usual choice. KenLM scores reach
flashlight in log10 and are not converted, so its alpha is ln(10) times the alpha of a decoder in nats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from flashlight.lib.text.decoder import (
    CriterionType,
    LexiconDecoder,
    LexiconDecoderOptions,
    LexiconFreeDecoder,
    LexiconFreeDecoderOptions,
    SmearingMode,
    Trie,
    ZeroLM,
)
from flashlight.lib.text.dictionary import Dictionary

from benchmarks.peers.ctc_interface import BenchmarkDecoder

if TYPE_CHECKING:
    from benchmarks.peers.ctc_interface import DecoderSetup

OUT_OF_REACH = 1e6
USUAL_THRESHOLD = 50.0


class _Flashlight(BenchmarkDecoder):
    package = "flashlight-text"
    log_add = True

    def __init__(self, setup: DecoderSetup) -> None:
        super().__init__(setup)
        self.space = setup.labels.index(" ")
        self.blank = len(setup.labels)
        self.columns = self.blank + 1
        self._decoder: Any = None


class FlashlightLexiconFree(_Flashlight):
    """Any string of symbols, no model, paths of one prefix added up (`log_add`)."""

    def set_beam(self, beam: int) -> None:
        options = LexiconFreeDecoderOptions(beam, self.columns, OUT_OF_REACH, 0.0, 0.0, self.log_add, CriterionType.CTC)
        self._decoder = LexiconFreeDecoder(options, ZeroLM(), self.space, self.blank, [])

    def decode(self, prepared: np.ndarray) -> str:
        tokens = self._decoder.decode(prepared.ctypes.data, *prepared.shape)[0].tokens
        text, previous = [], -1
        for token in tokens:
            if token not in (previous, self.blank) and 0 <= token < self.blank:
                text.append(self.setup.labels[token])
            previous = token
        return "".join(text)


class FlashlightLexicon(_Flashlight):
    """Words of the model only, scored by KenLM, look-ahead smeared by the maximum.

    A word of flashlight's lexicon ends with the separator, so one frame of pure separator is added at the end.
    """

    def __init__(self, setup: DecoderSetup) -> None:
        from flashlight.lib.text.decoder.kenlm import KenLM

        super().__init__(setup)
        self.words = Dictionary()
        for word in setup.words:
            self.words.add_entry(word)
        self.words.add_entry("<unk>")
        self.words.set_default_index(self.words.get_index("<unk>"))
        self.model = KenLM(str(setup.language_model), self.words)
        self.trie = Trie(self.columns, self.space)
        start = self.model.start(False)
        column = {label: index for index, label in enumerate(setup.labels)}
        for word in setup.words:
            if all(letter in column for letter in word):
                index = self.words.get_index(word)
                _, score = self.model.score(start, index)
                self.trie.insert([*(column[letter] for letter in word), self.space], index, score)
        self.trie.smear(SmearingMode.MAX)

    def prepare(self, log_probs: np.ndarray) -> np.ndarray:
        last = np.full((1, self.columns), -30.0, np.float32)
        last[0, self.space] = 0.0
        return np.ascontiguousarray(np.concatenate([log_probs, last]))

    def set_beam(self, beam: int) -> None:
        options = LexiconDecoderOptions(
            beam,
            self.columns,
            USUAL_THRESHOLD,
            self.setup.alpha,
            self.setup.beta,
            -np.inf,
            0.0,
            self.log_add,
            CriterionType.CTC,
        )
        unknown = self.words.get_index("<unk>")
        self._decoder = LexiconDecoder(options, self.trie, self.model, self.space, self.blank, unknown, [], False)

    def decode(self, prepared: np.ndarray) -> str:
        words = self._decoder.decode(prepared.ctypes.data, *prepared.shape)[0].words
        return " ".join(self.words.get_entry(word) for word in words if word >= 0)


class FlashlightLexiconMax(FlashlightLexicon):
    """The same with flashlight's default: the best path of a prefix stands for all (`log_add=False`)."""

    log_add = False
