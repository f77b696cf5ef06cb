"""Language models read by the `kenlm` package."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from deepspeech2.errors import LanguageModelError

UNIGRAMS, UNIGRAMS_AT = struct.Struct("<Q"), 0x6C  # where the header of a binary has their number
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
            LanguageModelError: `kenlm` is not installed, or it refuses the file.
        """
        try:
            import kenlm
        except ImportError:
            raise LanguageModelError(
                f"{path}: a KenLM binary needs the kenlm package: pip install 'deepspeech2[kenlm]', "
                "or use the model's ARPA file, which needs nothing."
            ) from None
        self.path = Path(path)
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
        data = self.path.read_bytes()
        start = data.rfind(b"<unk>\0")
        if start < 0:
            raise LanguageModelError(
                f"{self.path}: this KenLM binary lacks its word list; build it without -i, or use the ARPA file."
            )
        if not data.endswith(b"\0"):
            raise LanguageModelError(f"{self.path}: the word list of this KenLM binary was cut short; copy it anew.")
        try:
            words = data[start:-1].decode("utf-8").split("\0")
        except UnicodeDecodeError as error:
            raise LanguageModelError(
                f"{self.path}: the word list of this binary should be UTF-8, but byte {start + error.start} is not."
            ) from None
        (promised,) = UNIGRAMS.unpack_from(data, UNIGRAMS_AT)
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
