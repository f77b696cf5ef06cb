"""Checks the matrix given to a decoder and says in one line what is wrong with it."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from deepspeech2.errors import PosteriorsError

# A row of probabilities may miss 1 by this much: what 16-bit floats and a few averaged models leave.
SUM_TOLERANCE = 0.02

Matrix = NDArray[np.float32] | NDArray[np.float64]


def as_matrix(log_probs: Any, columns: int) -> Matrix:
    """Bring log-probabilities of any array library to a C-ordered numpy matrix; values are checked elsewhere.

    Args:
        log_probs: (time, columns) natural log-probabilities: numpy, torch, or anything numpy can read; float16,
            float32 or float64, in any memory order.
        columns: How many columns the decoder's alphabet has.

    Returns:
        float32 or float64, (time, columns), a copy only where needed.

    Raises:
        PosteriorsError: Not a matrix of floats, no frames, or another number of columns.
    """
    try:
        if hasattr(log_probs, "detach"):
            log_probs = log_probs.detach().cpu()
            if str(log_probs.dtype) == "torch.bfloat16":
                log_probs = log_probs.float()
            log_probs = log_probs.numpy()
        array = np.asarray(log_probs)
    except (ValueError, TypeError, RuntimeError) as error:  # torch raises all three where a tensor has no numbers
        reason = " ".join(str(error).split()).rstrip(".")
        raise PosteriorsError(
            f"Posteriors must be an array of (time, {columns}) log-probabilities: {reason}."
        ) from None
    shape = "x".join(map(str, array.shape)) or "scalar"
    if array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4, 8):
        raise PosteriorsError(
            f"Posteriors must be float32 or float64 log-probabilities, but this {shape} array is {array.dtype}."
        )
    if array.ndim != 2:
        raise PosteriorsError(
            f"Posteriors must be one utterance, (time, {columns}), but the array is {shape}; "
            "decode a batch with decode_batch, cut to each utterance's valid frames."
        )
    if array.shape[1] != columns:
        # Elsewhere the blank is a label like the others, and then there is one column for each label.
        hint = " If the blank is one of the labels, leave it out of them." if array.shape[1] == columns - 1 else ""
        raise PosteriorsError(
            f"Posteriors must have {columns} columns, one for each of {columns - 1} labels and the blank, "
            f"but the array is {shape}.{hint}"
        )
    if not array.shape[0]:
        raise PosteriorsError(f"Posteriors must have at least one frame, but the array is {shape}.")
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array)


def check_rows(log_probs: Matrix, first_row: int = 0) -> None:
    """Refuse a row that is not a distribution; the native search makes the same test while it reads.

    Args:
        log_probs: A matrix from `as_matrix`.
        first_row: What to add to the row that is named.

    Raises:
        PosteriorsError: A row holds NaN, or its probabilities do not add up to 1.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.exp(log_probs.astype(np.float64)).sum(axis=1)
    bad = np.flatnonzero(~(np.abs(sums - 1.0) <= SUM_TOLERANCE))
    if bad.size:
        refuse_row(log_probs, int(bad[0]), first_row)


def refuse_row(log_probs: Matrix, row: int, first_row: int = 0) -> NoReturn:
    """Raise the error that says what is wrong with a row.

    Args:
        log_probs: The matrix.
        row: The offending row in it.
        first_row: What to add to the row when it is named: the frames a stream took before this matrix.

    Raises:
        PosteriorsError: Always.
    """
    values = log_probs[row].astype(np.float64)
    where = f"row {row + first_row} of the {log_probs.shape[0]}x{log_probs.shape[1]} posteriors"
    if np.isnan(values).any():
        column = int(np.flatnonzero(np.isnan(values))[0])
        raise PosteriorsError(f"Expected log-probabilities, but {where} holds nan in column {column}.")
    if np.isposinf(values).any():
        column = int(np.flatnonzero(np.isposinf(values))[0])
        raise PosteriorsError(f"Expected log-probabilities, but {where} holds inf in column {column}.")
    if np.isneginf(values).all():
        raise PosteriorsError(f"Expected log-probabilities, but {where} is -inf in every column.")
    with np.errstate(over="ignore"):
        total = float(np.exp(values).sum())
    hint = (
        "these look like probabilities: take their natural log"
        if abs(values.sum() - 1) < 1e-2
        else ("apply log_softmax first")
    )
    raise PosteriorsError(
        f"The probabilities of {where} should add up to 1, but exp of them adds up to {total:.6g} "
        f"(largest value {values.max():.6g}); {hint}."
    )


def refuse_dead_end(row: int) -> NoReturn:
    """Raise the error for a row after which no prefix has a probability.

    Args:
        row: The row, counted from the beginning of the utterance.

    Raises:
        PosteriorsError: Always.
    """
    raise PosteriorsError(
        f"Row {row} of the posteriors leaves no prefix with a probability above zero, without the cut-offs either: its "
        "symbols are outside the lexicon, or alpha takes every one below e^-600, the range of the arithmetic; allow "
        "other words with lexicon=False, delimiters without words between them with pauses=True, or lower alpha."
    )


def refuse_overflow(row: int) -> NoReturn:
    """Raise the error for a row after which a prefix is above the range of the arithmetic.

    Args:
        row: The row, counted from the beginning of the utterance.

    Raises:
        PosteriorsError: Always.
    """
    raise PosteriorsError(
        f"At row {row} of the posteriors the language model makes a prefix more than e^600 times more probable in one "
        "step, beyond the range of the arithmetic; lower alpha, or switch lookahead off."
    )
