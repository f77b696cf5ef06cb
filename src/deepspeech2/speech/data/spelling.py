"""Transcripts in the 28 symbols of the published English models."""

from __future__ import annotations

import re
import unicodedata

# What is typed for an apostrophe. Accents and primes stand for one between letters only, as in don`t; they are
# one character until then, for some would fall apart into a space and a combining accent.
_TYPED = str.maketrans(dict.fromkeys("‘’‛ʼʻ", "'") | dict.fromkeys("´′ʹ", "`"))
_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])`(?=[^\W\d_])")
# From an apostrophe before a word to the first one after a word; those inside words are passed over.
_QUOTED = re.compile(r"(?<![^\W_])'(?=[^\s'])((?:[^']|(?<=[^\W_])'(?=[^\W_]))*)(?<=[^\s'])'(?![^\W_])")
_LONE = re.compile(r"(?<!\S)'(?!\S)")
# Punctuation that is read aloud, how is not known here.
_SPOKEN = "&%"


def spell_english(text: str) -> str:
    """A transcript in the 28 symbols of the published English models, as far as that is possible.

    Accents are taken off, whatever is typed for an apostrophe becomes a plain one, invisible format characters go,
    and other punctuation becomes a space. Apostrophes around words are quotation marks and go in pairs; one without
    a partner stays, as in ``dogs'`` and ``'tis``. Where both stand in one text they cannot be told from quotation
    marks, and go. Digits, ``&`` and ``%`` stay, for the preflight to name: how they are read aloud is not known.

    Example:
        >>> spell_english("“Don’t,” said Zoë — twice-over.")
        "don't said zoe twice over"
    """
    visible = "".join(character for character in text if unicodedata.category(character) != "Cf")
    plain = unicodedata.normalize("NFKD", visible.translate(_TYPED)).lower().translate(_TYPED)
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    plain = _BETWEEN_LETTERS.sub("'", plain).replace("`", " ").replace("''", " ")
    plain = "".join(" " if _is_mark(character) else character for character in _unquoted(plain))
    return squeeze(_unquoted(_LONE.sub(" ", plain).replace("''", " ")))


def squeeze(text: str) -> str:
    """A text with single spaces for every run of white space."""
    return " ".join(text.split())


def _unquoted(text: str) -> str:
    while (bare := _QUOTED.sub(r" \1 ", text)) != text:  # again for quotations within quotations
        text = bare
    return text


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("P") and character not in "'" + _SPOKEN
