"""The recurrences through the native kernels of `native/recurrence/`: float32 on the CPU.

A state is the same, bit for bit, whatever the number of threads and whatever else is in the batch; the gradients of
the weights are matrix products of torch, the same for the same inputs and threads.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

try:
    from deepspeech2.speech import _recurrence
except ImportError:  # not compiled for this interpreter: the loops of torch operations do everything
    _recurrence = None  # type: ignore[assignment]

_Batch = tuple[int, int, int, int, bool, int]
_Weight = tuple[int, str, int, int, int]

# Multiply-adds of one step below which a second thread costs more than it brings.
_WORTH_A_THREAD = 1 << 16


def applies(*tensors: Tensor) -> bool:
    """Whether the kernels are compiled and take these tensors."""
    return _recurrence is not None and all(
        tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.numel() > 0 for tensor in tensors
    )


def simple_forward(x: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, reverse: bool, limit: float) -> Tensor:
    """See `recurrence.simple_recurrence`."""
    x, weight, bias, lengths = x.contiguous(), weight.contiguous(), bias.contiguous(), lengths.contiguous()
    states = torch.empty_like(x)
    _recurrence.simple_forward(
        _batch(x, lengths, reverse, x.shape[2]),
        _weight(weight),
        bias.data_ptr(),
        limit,
        x.data_ptr(),
        states.data_ptr(),
    )
    return states


def simple_backward(
    grad: Tensor, output: Tensor, weight: Tensor, lengths: Tensor, reverse: bool, limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `recurrence.simple_recurrence_backward`."""
    grad, output, weight = grad.contiguous(), output.contiguous(), weight.contiguous()
    lengths = lengths.contiguous()
    size = output.shape[2]
    errors = torch.empty_like(output)
    _recurrence.simple_backward(
        _batch(output, lengths, reverse, size),
        _weight(weight, transposed=True),
        limit,
        output.data_ptr(),
        grad.data_ptr(),
        errors.data_ptr(),
    )
    # Of every frame the one a step earlier; past an utterance's ends one of the two is zero.
    earlier, later = (output[:, 1:], errors[:, :-1]) if reverse else (output[:, :-1], errors[:, 1:])
    grad_weight = earlier.reshape(-1, size).t() @ later.reshape(-1, size)
    return errors, grad_weight, errors.sum((0, 1))


def gru_forward(
    x: Tensor, gate_weight: Tensor, candidate_weight: Tensor, bias: Tensor, lengths: Tensor, reverse: bool
) -> tuple[Tensor, Tensor]:
    """See `recurrence.gru_recurrence`."""
    x, gate_weight, candidate_weight = x.contiguous(), gate_weight.contiguous(), candidate_weight.contiguous()
    bias, lengths = bias.contiguous(), lengths.contiguous()
    size = candidate_weight.shape[0]
    states, gates = x.new_empty(x.shape[0], x.shape[1], size), torch.empty_like(x)
    _recurrence.gated_forward(
        _batch(x, lengths, reverse, size),
        (_weight(gate_weight[:, :size]), _weight(gate_weight[:, size:]), _weight(candidate_weight)),
        bias.data_ptr(),
        x.data_ptr(),
        states.data_ptr(),
        gates.data_ptr(),
    )
    return states, gates


def gru_backward(  # noqa: PLR0913, PLR0917
    grad: Tensor,
    output: Tensor,
    gates: Tensor,
    gate_weight: Tensor,
    candidate_weight: Tensor,
    lengths: Tensor,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See `recurrence.gru_recurrence_backward`."""
    grad, output, gates = grad.contiguous(), output.contiguous(), gates.contiguous()
    gate_weight, candidate_weight = gate_weight.contiguous(), candidate_weight.contiguous()
    lengths = lengths.contiguous()
    size = output.shape[2]
    errors, earlier, reset_states = torch.empty_like(gates), torch.empty_like(output), torch.empty_like(output)
    _recurrence.gated_backward(
        _batch(output, lengths, reverse, size),
        (
            _weight(gate_weight[:, :size], transposed=True),
            _weight(gate_weight[:, size:], transposed=True),
            _weight(candidate_weight, transposed=True),
        ),
        output.data_ptr(),
        gates.data_ptr(),
        grad.data_ptr(),
        (errors.data_ptr(), earlier.data_ptr(), reset_states.data_ptr()),
    )
    totals = errors.view(-1, 3 * size)
    grad_gate_weight = earlier.view(-1, size).t() @ totals[:, : 2 * size]
    grad_candidate_weight = reset_states.view(-1, size).t() @ totals[:, 2 * size :]
    return errors, grad_gate_weight, grad_candidate_weight, totals.sum(0)


def _batch(padded: Tensor, lengths: Tensor, reverse: bool, size: int) -> _Batch:
    work = padded.shape[0] * size * padded.shape[2]
    threads = min(torch.get_num_threads(), _processors(), 1 + work // _WORTH_A_THREAD)
    return padded.shape[0], padded.shape[1], size, lengths.data_ptr(), reverse, threads


def _processors() -> int:
    """Processors this process may run on: threads that wait for each other at every step need one each."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _weight(weight: Tensor, *, transposed: bool = False) -> _Weight:
    """Where a weight is; it must outlive the call."""
    row, column = weight.stride()
    return weight.data_ptr(), "float32", 0, *((column, row) if transposed else (row, column))
