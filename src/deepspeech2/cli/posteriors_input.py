"""What `ds2 decode` and `ds2 tune` share: files of posteriors and the labels of their columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepspeech2.errors import PosteriorsError, VocabularyError

if TYPE_CHECKING:
    from deepspeech2.ctc import Alphabet
    from deepspeech2.ctc.posteriors_file import PosteriorsFile, Utterance

DEFAULT_LABELS = "abcdefghijklmnopqrstuvwxyz' "


@dataclass(frozen=True)
class PosteriorsInput:
    """The files of one command.

    Attributes:
        files: Each opened file.
        alphabet: The labels of all of them.
        is_guess: Whether nobody named the labels, so that the default was taken.
    """

    files: tuple[PosteriorsFile, ...]
    alphabet: Alphabet
    is_guess: bool

    @property
    def utterances(self) -> list[Utterance]:
        """The utterances of all files."""
        return [utterance for file in self.files for utterance in file]

    def matrix(self, utterance: Utterance) -> Any:
        """Read an utterance and check its shape; its values are the decoder's to check.

        Raises:
            PosteriorsError: Unreadable, or not a matrix with a column for each label and the blank.
        """
        from deepspeech2.ctc.posteriors import as_matrix

        array, columns = utterance.load(), self.alphabet.columns
        try:
            return as_matrix(array, columns)
        except PosteriorsError as error:
            # Other labels make another number of columns right, and nothing else.
            is_count_wrong = array.dtype.kind == "f" and array.ndim == 2 and array.shape[1] != columns
            if not (self.is_guess and is_count_wrong):
                raise
            hint = "The labels are the default, a-z ' and space; name others with --labels FILE."
            raise PosteriorsError(f"{error} {hint}") from None


def open_posteriors(paths: Sequence[Path], labels: Path | None) -> PosteriorsInput:
    """Open the files; labels come from `labels`, else from the files, else are a-z, apostrophe and space.

    Raises:
        PosteriorsError: A file cannot be read.
        VocabularyError: The labels cannot be read, or files name different ones.
    """
    from deepspeech2.ctc import Alphabet
    from deepspeech2.ctc.posteriors_file import read_posteriors

    files = tuple(read_posteriors(path) for path in paths)
    if labels is not None:
        return PosteriorsInput(files, Alphabet.from_file(labels), is_guess=False)
    named = [file for file in files if file.labels is not None]
    for file in named:
        if file.labels != named[0].labels:
            raise VocabularyError(
                f"{named[0].path} and {file.path} name different labels; decode them apart, or give --labels FILE."
            )
    if named:
        return PosteriorsInput(files, Alphabet(named[0].labels or ()), is_guess=False)
    return PosteriorsInput(files, Alphabet(DEFAULT_LABELS), is_guess=True)
