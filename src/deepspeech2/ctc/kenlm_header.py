"""The header of a KenLM binary, held against the size of its file before KenLM believes it.

KenLM maps the file and takes the counts in the header for granted: a wrong one ends the process. What stands behind the
header is not checked here nor there.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepspeech2.ctc.language_model import KENLM_MAGIC
from deepspeech2.errors import LanguageModelError

WORD_LIST = b"<unk>\0"  # the words stand behind everything else, this one first
PARAMETERS, PARAMETERS_AT = struct.Struct("<B3xfIB3xI"), 0x58
COUNT = struct.Struct("<Q")
MOST_ORDERS = 16
PROBING, REST_PROBING, TRIE, QUANTISED_TRIE, ARRAY_TRIE, QUANTISED_ARRAY_TRIE = range(6)
PADDING = 8
QUANTISATION = 8  # bytes in front of the tables of a quantised model: version and bits


@dataclass(frozen=True)
class Header:
    """What a binary says of itself.

    Attributes:
        kind: The data structure.
        multiplier: Places for each entry of its hash tables.
        has_words: Whether the word list is in the file.
        counts: n-grams of each order.
        size: Bytes of the header.
    """

    kind: int
    multiplier: float
    has_words: bool
    counts: tuple[int, ...]
    size: int


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Open a file as memory, without reading it.

    Raises:
        LanguageModelError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise LanguageModelError(f"{path}: cannot read the language model: {error}.") from None
    with data:
        yield data


def read_header(data: mmap.mmap) -> Header:
    """Read the header.

    Args:
        data: The file.

    Returns:
        The header; counts that would lie behind the end of the file are left out.

    Raises:
        struct.error: The file is shorter than any header.
    """
    order, multiplier, kind, has_words, _ = PARAMETERS.unpack_from(data, PARAMETERS_AT)
    at = PARAMETERS_AT + PARAMETERS.size
    order = min(order, MOST_ORDERS, (len(data) - at) // COUNT.size)
    counts = struct.unpack_from(f"<{order}Q", data, at)
    return Header(kind, multiplier, bool(has_words), counts, (at + order * COUNT.size + 7) // 8 * 8)


def check_sizes(path: Path) -> None:
    """Refuse a binary whose header promises another size than the file has.

    For probing and trie models to the few bytes a missing ``<unk>`` may pad; of the others the least they can take.

    Args:
        path: The binary.

    Raises:
        LanguageModelError: The header does not fit the file.
    """
    with mapped(path) as data:
        if data[: len(KENLM_MAGIC)] != KENLM_MAGIC:
            return  # no binary; kenlm reads ARPA files too
        try:
            header = read_header(data)
            expected = header.size + _size(header, data)
        except (struct.error, ValueError, IndexError, OverflowError):
            raise LanguageModelError(f"{path}: the header of this KenLM binary is damaged; copy it anew.") from None
        start = data.rfind(WORD_LIST) if header.has_words else len(data)
        end = len(data) if start < 0 else start
        most = expected + PADDING if header.kind in (PROBING, TRIE) else len(data)
        if not expected <= end <= most:
            raise LanguageModelError(
                f"{path}: the header of this KenLM binary promises {expected} bytes in front of its word list, but "
                f"there are {end}; it is damaged or was cut short: copy it anew."
            )


def _size(header: Header, data: mmap.mmap) -> int:
    """How many bytes stand between the header and the word list."""
    if not header.counts or header.kind not in range(6):
        raise ValueError
    if header.kind in (PROBING, REST_PROBING):
        return _probing_size(header)
    quantised = header.kind in (QUANTISED_TRIE, QUANTISED_ARRAY_TRIE)
    unigrams = header.counts[0]
    vocabulary = 8 * (1 + unigrams)  # how many words there are, and a hash of each
    (words,) = COUNT.unpack_from(data, header.size)
    if words > unigrams:
        raise ValueError
    tables, of_middle, of_longest = 0, 63, 31
    if quantised:
        _, of_longest, backoff_bits = data[header.size + vocabulary :][:3]
        if not (1 <= of_longest <= 25 and 1 <= backoff_bits <= 25):
            raise ValueError
        of_middle = of_longest + backoff_bits
        largest, middle = 4 << of_longest, (4 << of_longest) + (4 << backoff_bits)
        tables = (len(header.counts) - 2) * middle + largest + QUANTISATION
    size = vocabulary + tables + 16 * (unigrams + 2)
    inline = header.kind in (TRIE, QUANTISED_TRIE)
    for count, longer in zip(header.counts[1:-1], header.counts[2:], strict=True):
        size += _packed(count, unigrams, of_middle + (longer.bit_length() if inline else 0))
    return size + (_packed(header.counts[-1], unigrams, of_longest) if len(header.counts) > 1 else 0)


def _packed(count: int, words: int, bits: int) -> int:
    """Bytes of one order of a trie: an entry is a word and what belongs to it, to the bit; one entry ends the last."""
    return ((1 + count) * (words.bit_length() + bits) + 7) // 8 + 8


def _probing_size(header: Header) -> int:
    """Hash tables of words and of each order but the first; unigrams stand in a row."""
    unigrams, *longer = header.counts
    # In single precision, as KenLM multiplies.
    places = [max(count + 1, int(np.float32(header.multiplier) * np.float32(count))) for count in header.counts]
    size = 8 + 12 * places[0] + 8 * (unigrams + 1)
    entries = [16] * (len(longer) - 1) + [12] * bool(longer)
    return size + sum(entry * place for entry, place in zip(entries, places[1:], strict=True))
