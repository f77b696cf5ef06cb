"""Language models read by the `kenlm` package."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from deepspeech2.ctc.kenlm_header import WORD_LIST, check_sizes, mapped, read_header
from deepspeech2.errors import LanguageModelError

MARKERS = ("<s>", "</s>", "<unk>", "<UNK>")


class KenlmModel:
    """A KenLM model, usually a binary: probing or trie, quantised or not.

    Pickles by path.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the file.

        Args:
            path: A KenLM binary.

        Raises:
            LanguageModelError: `kenlm` is not installed, it refuses the file, or the header does not fit the file.
        """
        try:
            import kenlm
        except ImportError:
            raise LanguageModelError(
                f"{path}: a KenLM binary needs the kenlm package: pip install 'deepspeech2[kenlm]', "
                "or use the model's ARPA file, which needs nothing."
            ) from None
        self.path = Path(path)
        check_sizes(self.path)  # kenlm believes the header
        self._kenlm: Any = kenlm
        try:
            self._model: Any = kenlm.Model(str(path))
        except Exception as error:  # kenlm raises several kinds
            reason = " ".join(str(error).split())
            raise LanguageModelError(f"{path}: kenlm cannot read this language model: {reason}") from None
        self.order: int = self._model.order

    @cached_property
    def _words(self) -> tuple[str, ...]:
        # KenLM keeps the vocabulary behind everything else, each word ended by a zero byte, <unk> first.
        with mapped(self.path) as data:
            return self._read_words(data)

    def _read_words(self, data: mmap.mmap) -> tuple[str, ...]:
        start = data.rfind(WORD_LIST)
        if start < 0:
            raise LanguageModelError(
                f"{self.path}: this KenLM binary lacks its word list; build it without -i, or use the ARPA file."
            )
        if data[-1:] != b"\0":
            raise LanguageModelError(f"{self.path}: the word list of this KenLM binary was cut short; copy it anew.")
        try:
            words = data[start:-1].decode("utf-8").split("\0")
        except UnicodeDecodeError as error:
            raise LanguageModelError(
                f"{self.path}: the word list of this binary should be UTF-8, but byte {start + error.start} is not."
            ) from None
        promised = read_header(data).counts[0]
        # A model made without <unk> has it in the list, but not in the count.
        if len(words) not in (promised, promised + 1):
            raise LanguageModelError(
                f"{self.path}: the header of this binary promises {promised} words, but its list has {len(words)}."
            )
        found = tuple(word for word in words if word not in MARKERS)
        if not all(word in self._model for word in found):
            raise LanguageModelError(
                f"{self.path}: the word list at the end of this KenLM binary is not its vocabulary."
            )
        return found

    def words(self) -> Sequence[str]:
        """The vocabulary without its markers."""
        return self._words

    def __contains__(self, word: object) -> bool:
        return word in self._model

    def begin(self) -> Any:
        """The state after ``<s>``."""
        state = self._kenlm.State()
        self._model.BeginSentenceWrite(state)
        return state

    def null(self) -> Any:
        """The state without any context."""
        state = self._kenlm.State()
        self._model.NullContextWrite(state)
        return state

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """log10 P(word | state) and the state after it."""
        after = self._kenlm.State()
        return self._model.BaseScore(state, word, after), after

    def __reduce__(self) -> tuple[type[KenlmModel], tuple[Path]]:
        return KenlmModel, (self.path.absolute(),)
