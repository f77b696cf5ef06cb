"""The recurrences through the native kernels of `native/recurrence/`: float32 states on the CPU.

A state is the same, bit for bit, whatever the number of threads and whatever else is in the batch; the gradients of
the weights are matrix products of torch, the same for the same inputs and threads.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from deepspeech2.errors import InputError, OptionError
from deepspeech2.processors import available_processors
from deepspeech2.speech.stored_weights import StoredWeight

try:
    from deepspeech2.speech import _recurrence
except ImportError:  # not compiled for this interpreter: the loops of torch operations do everything
    _recurrence = None  # type: ignore[assignment]

_Batch = tuple[int, int, int, int, bool, int]
_Weight = tuple[int, str, int, int, int]
_Forward = tuple[_Batch, tuple[_Weight, _Weight, _Weight], int, int, int, int]

# Multiply-adds of one step below which a second thread costs more than it brings.
_WORTH_A_THREAD = 1 << 16


@functools.cache
def instruction_set() -> str | None:
    """Name of the instruction set the kernels use; None where they are not compiled.

    Raises:
        OptionError: The environment forces one that this processor does not run.
    """
    try:
        return None if _recurrence is None else _recurrence.simd()
    except ValueError as error:
        raise OptionError(str(error)) from None


def applies(*tensors: Tensor) -> bool:
    """Whether the kernels are compiled and take these tensors."""
    return instruction_set() is not None and all(
        tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.numel() > 0 for tensor in tensors
    )


def takes(*weights: StoredWeight) -> bool:
    """Whether the kernels multiply by weights stored like these."""
    formats = (torch.float32, torch.bfloat16, torch.int8)
    return all(
        weight.values.dtype in formats
        and weight.values.device.type == "cpu"
        and (weight.scales is None or (weight.scales.dtype == torch.float32 and weight.scales.device.type == "cpu"))
        for weight in weights
    )


def simple_forward(x: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, reverse: bool, limit: float) -> Tensor:
    """See `recurrence.simple_recurrence`."""
    return simple_states(x, StoredWeight(weight), bias, lengths, reverse, limit)


def simple_states(
    x: Tensor, weight: StoredWeight, bias: Tensor, lengths: Tensor, reverse: bool, limit: float
) -> Tensor:
    """See `recurrence_inference.simple_states`."""
    batch, _, size = x.shape
    _check("weight", weight.values, size, size)
    _check("scales", weight.scales, size)
    _check("bias", bias, size)
    _check("lengths", lengths, batch)
    x, bias, lengths = x.contiguous(), bias.contiguous(), lengths.contiguous()
    scales = None if weight.scales is None else weight.scales.contiguous()
    states = torch.empty_like(x)
    _recurrence.simple_forward(
        _batch(x, lengths, reverse, x.shape[2]),
        _weight(weight.values, scales),
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
    grad, output, lengths = grad.contiguous(), output.contiguous(), lengths.contiguous()
    batch, _, size = output.shape
    _check("gradient", grad, *output.shape)
    _check("weight", weight, size, size)
    _check("lengths", lengths, batch)
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
    gates = torch.empty_like(x, memory_format=torch.contiguous_format)
    weights = StoredWeight(gate_weight), StoredWeight(candidate_weight)
    return gru_states(x, *weights, bias, lengths, reverse, gates), gates


def gru_states(  # noqa: PLR0913, PLR0917
    x: Tensor,
    gate: StoredWeight,
    candidate: StoredWeight,
    bias: Tensor,
    lengths: Tensor,
    reverse: bool,
    gates: Tensor | None = None,
) -> Tensor:
    """See `recurrence_inference.gru_states`; `gates`, if given, is filled with the gates' values."""
    one = _GRUPass(x, gate, candidate, bias, lengths, reverse, gates)
    _recurrence.gated_forward([one.arguments()])
    return one.states


def gru_states_of_both(
    inputs: list[Tensor],
    gates: list[StoredWeight],
    candidates: list[StoredWeight],
    biases: list[Tensor],
    lengths: Tensor,
) -> tuple[Tensor, Tensor]:
    """See `recurrence_inference.gru_states_of_both`."""
    columns = zip(inputs, gates, candidates, biases, strict=True)
    ahead, back = (_GRUPass(*column, lengths, reverse) for column, reverse in zip(columns, (False, True), strict=True))
    _recurrence.gated_forward([ahead.arguments(), back.arguments()])
    return ahead.states, back.states


class _GRUPass:
    """One direction of a GRU: what the kernels are told, and the tensors that must live until they are done."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        x: Tensor,
        gate: StoredWeight,
        candidate: StoredWeight,
        bias: Tensor,
        lengths: Tensor,
        reverse: bool,
        gates: Tensor | None = None,
    ) -> None:
        self.x, self.bias, self.lengths = x.contiguous(), bias.contiguous(), lengths.contiguous()
        batch, time, width = x.shape
        self.size, self.reverse, self.gates = candidate.values.shape[0], reverse, gates
        _check("input", x, batch, time, 3 * self.size)
        for name, stored, columns in (("gate", gate, 2 * self.size), ("candidate", candidate, self.size)):
            _check(f"{name} weight", stored.values, self.size, columns)
            _check(f"{name} scales", stored.scales, columns)
        _check("bias", bias, width)
        _check("lengths", lengths, batch)
        self.states = x.new_empty(batch, time, self.size)
        scales: tuple[Tensor | None, ...] = (None, None)
        if gate.scales is not None:
            scales = gate.scales.contiguous().split(self.size)
        self.weights = [*zip(gate.values.split(self.size, dim=1), scales, strict=True)]
        self.weights.append((candidate.values, None if candidate.scales is None else candidate.scales.contiguous()))

    def arguments(self) -> _Forward:
        update, reset, candidate = (_weight(*weight) for weight in self.weights)
        return (
            _batch(self.x, self.lengths, self.reverse, self.size),
            (update, reset, candidate),
            self.bias.data_ptr(),
            self.x.data_ptr(),
            self.states.data_ptr(),
            0 if self.gates is None else self.gates.data_ptr(),
        )


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
    lengths = lengths.contiguous()
    batch, time, size = output.shape
    _check("gradient", grad, batch, time, size)
    _check("gates", gates, batch, time, 3 * size)
    _check("gate weight", gate_weight, size, 2 * size)
    _check("candidate weight", candidate_weight, size, size)
    _check("lengths", lengths, batch)
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


def _check(name: str, tensor: Tensor | None, *shape: int) -> None:
    """The kernels read as far as the sizes say: what they are given must reach so far."""
    if tensor is not None and tensor.shape != shape:
        raise InputError(f"recurrence: expected {name} of shape {shape}, found {tuple(tensor.shape)}")


def _batch(padded: Tensor, lengths: Tensor, reverse: bool, size: int) -> _Batch:
    work = padded.shape[0] * size * padded.shape[2]
    # Threads that wait for each other at every step need a processor each.
    threads = min(torch.get_num_threads(), available_processors(), 1 + work // _WORTH_A_THREAD)
    return padded.shape[0], padded.shape[1], size, lengths.data_ptr(), reverse, threads


def _weight(weight: Tensor, scales: Tensor | None = None, *, transposed: bool = False) -> _Weight:
    """Where a weight is, whatever its strides; it must outlive the call."""
    row, column = weight.stride()
    form = str(weight.dtype).removeprefix("torch.")
    strides = (column, row) if transposed else (row, column)
    return weight.data_ptr(), form, 0 if scales is None else scales.data_ptr(), *strides
