"""Which characters a training spells with where no model brings them, and why these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deepspeech2.errors import VocabularyError
from deepspeech2.printing import printable
from deepspeech2.speech.data.labels import build_labels, read_labels, texts_with_unknown
from deepspeech2.speech.data.manifest import Utterance
from deepspeech2.speech.data.prepare import VOCABULARY_FILE, prepared_beside
from deepspeech2.speech.options import ENGLISH_LABELS

_NAMED = 10


def choose_labels(
    given: Path | None, manifest: Path, utterances: Sequence[Utterance], say: Callable[[str], None]
) -> tuple[str, ...]:
    """The characters of a vocabulary file, the 28 English symbols where they suffice, or those that occur.

    Args:
        given: A vocabulary file; None for the one `prepare` wrote beside the manifest, if there is one.
        manifest: Where the utterances were read.
        utterances: Whose texts are to be spelled.
        say: Called with a line that tells what was chosen and, of characters that occur, which are rare: one that is
            there by mistake becomes a label like any other.

    Raises:
        VocabularyError: The file is no vocabulary, or the texts hold no character.
    """
    if given is not None:
        return _of_file(given, say)
    beside = prepared_beside(manifest, VOCABULARY_FILE)
    if beside is not None:
        try:
            return _of_file(beside, say)
        except VocabularyError as error:
            raise VocabularyError(
                f"{error}; read for it lies beside the manifest, --vocabulary names another"
            ) from error
    texts = [utterance.text for utterance in utterances]
    found = build_labels(texts)
    foreign = texts_with_unknown(texts, ENGLISH_LABELS)
    if not foreign:
        say(f"vocabulary: the {len(ENGLISH_LABELS)} English symbols, which spell every text")
        return ENGLISH_LABELS
    named = ", ".join(f"{character!r} in {count}" for character, count in list(foreign.items())[:_NAMED])
    more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
    say(
        f"vocabulary: the {len(found)} characters of {len(texts)} texts, those beyond English, rarest first: "
        f"{named}{more}; --vocabulary FILE leaves out texts with others than its own"
    )
    return found


def _of_file(path: Path, say: Callable[[str], None]) -> tuple[str, ...]:
    labels = read_labels(path)
    say(f"vocabulary: the {len(labels)} characters of {printable(path)}")
    return labels
