"""Recurrent layers and packed sequences, counted whole: a layer is its formula, a packed sequence its true lengths.

The dispatcher would unroll a layer over time or hide it in one vendor kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from deepspeech2.errors import DataDependentError
from deepspeech2.flops.formulas.activations import dropout, dropout_gradient
from deepspeech2.flops.formulas.recurrences import (
    Cell,
    needed_cell_gradient,
    torch_cell,
)
from deepspeech2.flops.functions import FunctionRule, register_function
from deepspeech2.flops.known_values import known_integers
from deepspeech2.flops.operations import NOTHING, Number, OperationCount
from deepspeech2.flops.recorder import Recorder, call_site
from deepspeech2.flops.whole import Plan, SizeOf, Whole


def _recurrent(kind: str) -> FunctionRule:
    def rule(recorder: Recorder, read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        packed = isinstance(args[3], list | tuple) if len(args) > 3 else False
        return _count_recurrent(kind, recorder, read_size, args, packed)

    return rule


def _count_recurrent(kind: str, recorder: Recorder, read_size: SizeOf, args: tuple[Any, ...], packed: bool) -> Any:
    if packed:
        data, batch_sizes, states, weights, bias, layers, dropped, train, bidirectional = args[:9]
        leading, rows = tuple(data.shape[:1]), read_size(data.shape[0])
        batch: Any = None
        del batch_sizes
    else:
        data, states, weights, bias, layers, dropped, train, bidirectional, batch_first = args[:9]
        leading = tuple(data.shape[:2])
        rows = read_size(data.shape[0]) * read_size(data.shape[1])
        batch = data.shape[0] if batch_first else data.shape[1]
    hidden = states[0] if isinstance(states, list | tuple) else states
    batch = hidden.shape[1] if batch is None else batch
    directions = 2 if bidirectional else 1
    gates = {"gru": 3, "lstm": 4}.get(kind, 1)
    size = weights[0].shape[0] // gates
    width = hidden.shape[-1]
    projection = int(width) if width != size else 0
    forward = NOTHING
    stack = [
        (kind, rows, int(data.shape[-1]) if layer == 0 else int(width) * directions, int(size))
        for layer in range(layers)
    ]
    for each in stack:
        forward = forward + torch_cell(*each, bias=bias, projection=projection) * directions
    # The gates of every step and, in an LSTM, its cells; the outputs of all layers but the last.
    values = gates + 1 if kind == "lstm" else gates
    kept = [(*leading, values * size * directions)] * layers + [(*leading, width * directions)] * (layers - 1)
    # Between layers: the output of every layer but the last.
    between = rows * int(width) * directions * (layers - 1) if dropped and train else 0
    forward = forward + dropout(between)
    flat_states = list(states) if isinstance(states, list | tuple) else [states]

    def backward(needed: Sequence[bool]) -> OperationCount:
        of_data, of_states = needed[0], any(needed[1 : 1 + len(flat_states)])
        of_weights = any(needed[1 + len(flat_states) :])
        count = NOTHING
        for layer, (_, _, inputs, _) in enumerate(stack):
            of_input = of_data or (layer > 0 and of_weights)
            cell = Cell(kind, rows, inputs, int(size), bias, projection)
            one = needed_cell_gradient(cell, read_size(batch), (of_input, of_states, of_weights))
            # Both directions have a gradient for what they read.
            both = OperationCount(add=rows * inputs if of_input and directions == 2 else 0)
            count = count + one * directions + both
        return count + dropout_gradient(between)

    output = (*leading, width * directions)
    state_shapes = [(layers * directions, batch, width)]
    if kind == "lstm":
        state_shapes.append((layers * directions, batch, size))
    plan = Plan(recorder, read_size, kind, forward, backward, [output, *state_shapes], kept=kept)
    return Whole.apply(plan, data, *flat_states, *weights)  # type: ignore[no-untyped-call]


for _kind in ("rnn_tanh", "rnn_relu", "gru", "lstm"):
    _callable_as = getattr(torch._C._VariableFunctions, _kind), getattr(torch, _kind)
    register_function(*_callable_as, transformable=True)(_recurrent(_kind))


@register_function(torch._C._VariableFunctions._pack_padded_sequence, transformable=True)
def _pack(recorder: Recorder, read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    data, lengths, batch_first = args[:3]
    values = known_integers(lengths)
    if values is None:
        raise DataDependentError(
            f"packing a sequence needs the lengths, and they are computed by the program ({call_site()}); "
            "pass them as an integer tensor on the CPU"
        )
    batch, steps = (read_size(data.shape[axis]) for axis in ((0, 1) if batch_first else (1, 0)))
    _refuse_packing(values, batch, steps)
    longest = max(values)
    sizes = [sum(1 for length in values if length > step) for step in range(longest)]
    plan = Plan(recorder, read_size, "_pack_padded_sequence", NOTHING, NOTHING, [(sum(values), *data.shape[2:])])
    packed = Whole.apply(plan, data)  # type: ignore[no-untyped-call]
    with recorder.silence():
        return packed, torch.tensor(sizes, dtype=torch.int64)


def _refuse_packing(lengths: Sequence[int], batch: Number, steps: Number) -> None:
    """What torch refuses, at the latest where a layer runs: a length for each sequence, the longest one first."""
    if not lengths or (isinstance(batch, int) and len(lengths) != batch):
        raise RuntimeError(f"packing needs a length for each of {batch} sequences, found {len(lengths)}")
    if min(lengths) < 1:
        raise RuntimeError(f"packing needs lengths of at least 1, found {list(lengths)}")
    if isinstance(steps, int) and max(lengths) > steps:
        raise RuntimeError(f"packing needs lengths of at most the {steps} steps there are, found {list(lengths)}")
    if sorted(lengths, reverse=True) != list(lengths):
        raise RuntimeError(f"packing needs the longest sequence first, or enforce_sorted=False; found {list(lengths)}")


@register_function(torch._C._VariableFunctions._pad_packed_sequence, transformable=True)
def _unpack(recorder: Recorder, read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    data, batch_sizes, batch_first, _value, total = args[:5]
    sizes = known_integers(batch_sizes)
    if sizes is None:
        raise DataDependentError(f"unpacking a sequence needs its batch sizes, which are computed ({call_site()})")
    steps = max(total, len(sizes))
    lengths = [sum(1 for size in sizes if size > sample) for sample in range(sizes[0])]
    shape = (sizes[0], steps) if batch_first else (steps, sizes[0])
    plan = Plan(recorder, read_size, "_pad_packed_sequence", NOTHING, NOTHING, [(*shape, *data.shape[1:])])
    padded = Whole.apply(plan, data)  # type: ignore[no-untyped-call]
    with recorder.silence():
        return padded, torch.tensor(lengths, dtype=torch.int64)
