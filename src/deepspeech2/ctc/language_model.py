"""What the decoder asks of a language model, and the door that opens model files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from deepspeech2.errors import LanguageModelError, OptionError

KENLM_MAGIC = b"mmap lm http://kheafield.com/code"

Unit = Literal["word", "label"]
DELIMITER_NAMES = (" ", "|", "▁", "<space>")  # what models over characters call the delimiter


class LanguageModel(Protocol):
    """An n-gram model; states are opaque and hashable, scores are log10.

    Attributes:
        path: The file it was read from.
        order: The n of its n-grams.
    """

    path: Path
    order: int

    def words(self) -> Sequence[str]:
        """The vocabulary without ``<s>``, ``</s>`` and ``<unk>``."""
        ...

    def __contains__(self, word: object) -> bool:
        """Whether the model knows the word."""
        ...

    def begin(self) -> Any:
        """The state after ``<s>``."""
        ...

    def null(self) -> Any:
        """The state without any context."""
        ...

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """log10 P(word | state), that of ``<unk>`` for an unknown word, and the state after it."""
        ...


def load_language_model(path: str | Path) -> LanguageModel:
    """Open a language model: an ARPA file, gzipped or not, or a KenLM binary.

    KenLM binaries need the `kenlm` package (``pip install 'deepspeech2[kenlm]'``). An ARPA file may come
    through a pipe.

    Args:
        path: The file.

    Returns:
        The model, for `BeamDecoder`.

    Raises:
        LanguageModelError: The file is missing, corrupt or neither of the two.

    Example:
        >>> model = load_language_model("lm.arpa.gz")  # doctest: +SKIP
    """
    from deepspeech2.ctc.kenlm_model import KenlmModel
    from deepspeech2.ctc.ngram_model import NgramModel

    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        return NgramModel(path)  # what is read of a pipe to look at it is gone
    try:
        with path.open("rb") as file:
            head = file.read(len(KENLM_MAGIC))
    except OSError as error:
        raise LanguageModelError(f"{path}: cannot read the language model: {error.strerror}.") from None
    return KenlmModel(path) if head == KENLM_MAGIC else NgramModel(path)


def unit_of(model: LanguageModel, labels: Sequence[str], delimiter: str | None = None) -> Unit:
    """Tell a model of words from one whose words are the labels themselves: characters or pieces.

    Args:
        model: The model.
        labels: The alphabet's labels.
        delimiter: The one between words; the model may call it by any of `DELIMITER_NAMES`.

    Returns:
        ``"label"`` when every word of the model is a single character or one of the labels; tokens in angle brackets,
        such as ``<pad>``, tell nothing.

    Raises:
        OptionError: The model has no words.
    """
    if all(_is_bracketed(word) for word in model.words()):
        raise OptionError(f"{model.path}: the language model has no words besides its markers.")
    return "label" if first_of_no_label(model, labels, delimiter) is None else "word"


def first_of_no_label(model: LanguageModel, labels: Sequence[str], delimiter: str | None = None) -> str | None:
    """Find the word that makes a model one of words.

    Args:
        model: The model.
        labels: The alphabet's labels.
        delimiter: As for `unit_of`.

    Returns:
        The first word of the model that is no single character, no label and no token in angle brackets, or None.
    """
    known = {*labels, *(DELIMITER_NAMES if delimiter is not None else ())}
    words = (word for word in model.words() if not (len(word) == 1 or word in known or _is_bracketed(word)))
    return next(words, None)


def _is_bracketed(word: str) -> bool:
    return len(word) > 2 and word.startswith("<") and word.endswith(">")
