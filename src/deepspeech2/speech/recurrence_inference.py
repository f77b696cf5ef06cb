"""The recurrences for inference: `deepspeech2::simple_states`, `gru_states` and `gru_states_of_both`.

The functions of `recurrence.py`, but without a gradient, without the values only a gradient needs, and with weights
that may be stored as bfloat16 or int8 (`stored_weights.py`). Like those they are single calls to whoever traces or
counts them, and loops of torch operations where the native kernels do not apply.
"""

from __future__ import annotations

from torch import Tensor

from deepspeech2.errors import InputError
from deepspeech2.speech import recurrence_loops, recurrence_native
from deepspeech2.speech.operators import FUNCTIONS, fake_result_of, operator
from deepspeech2.speech.recurrence import checked_lengths
from deepspeech2.speech.stored_weights import StoredWeight


@operator
def simple_states(  # noqa: PLR0913, PLR0917
    x: Tensor, weight: Tensor, scales: Tensor | None, bias: Tensor, lengths: Tensor, reverse: bool, limit: float
) -> Tensor:
    """Run the simple recurrence over the valid frames; see `recurrence.simple_recurrence`.

    Args:
        x: Projected input, (batch, time, size).
        weight: (size, size), float32, bfloat16 or int8.
        scales: (size,), of an int8 weight.
        bias: (size,).
        lengths: Valid frames of each utterance, (batch,), int64.
        reverse: Run from each utterance's last valid frame to its first.
        limit: Upper end of the clipped ReLU.

    Returns:
        (batch, time, size).

    Raises:
        InputError: A length does not fit.
    """
    lengths, stored = checked_lengths(lengths, x.shape[1]), StoredWeight(weight, scales)
    if recurrence_native.applies(x, bias) and recurrence_native.takes(stored):
        return recurrence_native.simple_states(x, stored, bias, lengths, reverse, limit)
    return recurrence_loops.simple_forward(x, stored.restore().to(x.dtype), bias, lengths, reverse, limit)


@fake_result_of("simple_states")
def _(  # noqa: PLR0913, PLR0917
    x: Tensor, weight: Tensor, scales: Tensor | None, bias: Tensor, lengths: Tensor, reverse: bool, limit: float
) -> Tensor:
    return x.new_empty(x.shape)


@operator
def gru_states(  # noqa: PLR0913, PLR0917
    x: Tensor,
    gate_weight: Tensor,
    gate_scales: Tensor | None,
    candidate_weight: Tensor,
    candidate_scales: Tensor | None,
    bias: Tensor,
    lengths: Tensor,
    reverse: bool,
) -> Tensor:
    """Run the published GRU over the valid frames; see `recurrence.gru_recurrence`.

    Args:
        x: Projected input, (batch, time, 3 * size), in the order update, reset, candidate.
        gate_weight: (size, 2 * size), float32, bfloat16 or int8.
        gate_scales: (2 * size,), of an int8 weight.
        candidate_weight: (size, size), of the same format.
        candidate_scales: (size,), of an int8 weight.
        bias: (3 * size,).
        lengths: Valid frames of each utterance, (batch,), int64.
        reverse: Run from each utterance's last valid frame to its first.

    Returns:
        (batch, time, size).

    Raises:
        InputError: A length does not fit.
    """
    lengths = checked_lengths(lengths, x.shape[1])
    gate, candidate = StoredWeight(gate_weight, gate_scales), StoredWeight(candidate_weight, candidate_scales)
    if recurrence_native.applies(x, bias) and recurrence_native.takes(gate, candidate):
        return recurrence_native.gru_states(x, gate, candidate, bias, lengths, reverse)
    gates, candidates = gate.restore().to(x.dtype), candidate.restore().to(x.dtype)
    return recurrence_loops.gru_forward(x, gates, candidates, bias, lengths, reverse)[0]


@fake_result_of("gru_states")
def _(  # noqa: PLR0913, PLR0917
    x: Tensor,
    gate_weight: Tensor,
    gate_scales: Tensor | None,
    candidate_weight: Tensor,
    candidate_scales: Tensor | None,
    bias: Tensor,
    lengths: Tensor,
    reverse: bool,
) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], candidate_weight.shape[0])


@operator
def gru_states_of_both(  # noqa: PLR0913, PLR0917
    inputs: list[Tensor],
    gate_weights: list[Tensor],
    gate_scales: list[Tensor | None],
    candidate_weights: list[Tensor],
    candidate_scales: list[Tensor | None],
    biases: list[Tensor],
    lengths: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run both directions of a GRU layer: `gru_states` forward, and in reverse, each with its own input and weights.

    Small directions run side by side on threads of their own, which need not wait for each other.

    Args:
        inputs: Projected input of the forward and of the backward direction, as of the other lists.
        gate_weights: See `gru_states`.
        gate_scales: See `gru_states`.
        candidate_weights: See `gru_states`.
        candidate_scales: See `gru_states`.
        biases: See `gru_states`.
        lengths: Valid frames of each utterance, (batch,), int64.

    Returns:
        States of both directions, each (batch, time, size).

    Raises:
        InputError: A length does not fit, or the directions differ in batch or time.
    """
    gates = [StoredWeight(*stored) for stored in zip(gate_weights, gate_scales, strict=True)]
    candidates = [StoredWeight(*stored) for stored in zip(candidate_weights, candidate_scales, strict=True)]
    if any(x.shape[:2] != inputs[0].shape[:2] for x in inputs):
        raise InputError(
            "recurrence: expected inputs of both directions of the same batch and time, found shapes "
            + " and ".join(str(tuple(x.shape)) for x in inputs)
        )
    lengths = checked_lengths(lengths, inputs[0].shape[1])
    if recurrence_native.applies(*inputs, *biases) and recurrence_native.takes(*gates, *candidates):
        return recurrence_native.gru_states_of_both(inputs, gates, candidates, biases, lengths)
    ahead, back = (
        FUNCTIONS["gru_states"](*direction, lengths, reverse)
        for *direction, reverse in zip(
            inputs, gate_weights, gate_scales, candidate_weights, candidate_scales, biases, (False, True), strict=True
        )
    )
    return ahead, back


@fake_result_of("gru_states_of_both")
def _(  # noqa: PLR0913, PLR0917
    inputs: list[Tensor],
    gate_weights: list[Tensor],
    gate_scales: list[Tensor | None],
    candidate_weights: list[Tensor],
    candidate_scales: list[Tensor | None],
    biases: list[Tensor],
    lengths: Tensor,
) -> tuple[Tensor, Tensor]:
    ahead, back = (
        x.new_empty(x.shape[0], x.shape[1], weight.shape[0])
        for x, weight in zip(inputs, candidate_weights, strict=True)
    )
    return ahead, back
