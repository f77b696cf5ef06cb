"""Recorder: collects operator calls under the module that made them and builds the tally."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from deepspeech2.errors import CountingError, InputError
from deepspeech2.flops.index_patterns import allowed_band
from deepspeech2.flops.known_values import known_value
from deepspeech2.flops.live_memory import LiveMemory
from deepspeech2.flops.memory import Memory
from deepspeech2.flops.needed_gradients import with_output_mask
from deepspeech2.flops.operations import NOTHING, Number, OperationCount, at_least_zero
from deepspeech2.flops.operators.complex_numbers import complex_count
from deepspeech2.flops.operators.sparse import NOT_DENSE, find_sparse_rule, has_sparse
from deepspeech2.flops.quantised_tensors import true_type
from deepspeech2.flops.registry import Call, TensorSpec, as_functional, find_rule
from deepspeech2.flops.rows import Node, Row, layers_of, module_layers
from deepspeech2.flops.tally import Layer, Tally, UnknownOperator
from deepspeech2.flops.traffic import traffic

_MAX_SITES = 8
_OWN_CODE = str(Path(__file__).parent)
_TORCH_CODE = str(Path(torch.__file__).parent)


class Recorder:
    """Sums operator calls by module, phase and operator."""

    def __init__(self, live: LiveMemory | None = None, read_size: Callable[[Any], Number] = int) -> None:
        """Args: what follows the memory of the program's tensors, if anything does; how their sizes are read."""
        self.root = Node("")
        self.live = live
        self.read_size = read_size
        self.memory: Memory | None = None
        self.phase = "forward"
        self.label: str | None = None
        # Counts the functions the program called, and how often the present one is meant to run.
        self._function, self._function_times = 0, 1
        self.paused = False
        self._stack: list[Node] = [self.root]
        self._nodes = {"": self.root}
        self._kinds: dict[str, str] = {}
        self._time = 0
        self._times = 1
        self._measured: list[OperationCount] | None = None
        self._unknown: dict[tuple[str, str], tuple[int, dict[str, None]]] = {}
        self._notes: dict[str, None] = {}
        # Autograd numbers its nodes in order of creation: the module that was running when a number was reached
        # owns the backward computation of the nodes that follow.
        self._sequence: list[int] = []
        self._owners: list[Node] = []

    # Modules -------------------------------------------------------------------------------------------------

    def enter(self, path: str, kind: str) -> None:
        """A module begins its forward; its class is named with the package it is from."""
        parent = self._stack[-1]
        node = parent.children.get(path) if path else self.root
        if node is None:
            node = parent.children[path] = self._nodes[path] = Node(path, self._clock())
        if not node.kind:
            kind = self._kinds.get(path, kind)
            node.kind = kind.rpartition(".")[2]
            # torch's own layers are one row each; a module of the user's keeps a row per operator.
            node.merged = kind.startswith("torch.nn.")
        self._stack.append(node)
        self._mark()

    def describe(self, path: str, kind: str) -> None:
        """A module that will begin stands for one of this class."""
        self._kinds[path] = kind

    def assign_parameters(self, named: Iterable[tuple[str, torch.nn.Parameter]]) -> None:
        """Give every parameter, once, to the module that holds it, or to the nearest one around it that ran."""
        seen: set[int] = set()
        for name, parameter in named:
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            self._nearest(name).parameters += parameter.numel()

    def record_phase(self, name: str, operator: str, count: OperationCount) -> None:
        """Count something of the present phase where the parameter of this name lives, as one row for all of them."""
        node = self._nearest(name)
        row = node.rows.setdefault((self.phase, operator), Row(operator, self._clock()))
        row.calls += 1
        row.own = row.own + count

    def _nearest(self, name: str) -> Node:
        """The module of this name, or the nearest one around it that ran."""
        while name and name not in self._nodes:
            name = name.rpartition(".")[0]
        return self._nodes[name]

    def leave(self, shape: tuple[Number, ...] | None = None) -> None:
        """The module that was entered last ends its forward, with a result of this shape."""
        if len(self._stack) > 1:
            # What a checkpoint runs again in the backward pass is no further result.
            self._stack.pop().see(shape, self._times if self.phase == "forward" else 0)
        self._mark()

    def _clock(self) -> int:
        self._time += 1
        return self._time

    def _mark(self) -> None:
        self._sequence.append(torch._C._autograd._get_sequence_nr())
        self._owners.append(self._stack[-1])

    def _owner(self) -> Node:
        """The module an operator belongs to, in the backward pass the one whose forward built the running node."""
        if self.phase == "backward" and len(self._stack) == 1:
            node = torch._C._current_autograd_node()
            if node is not None and self._sequence:
                index = bisect_right(self._sequence, node._sequence_nr()) - 1
                return self._owners[max(index, 0)] if index < len(self._owners) else self.root
        return self._stack[-1]

    def begin_function(self, label: str | None) -> None:
        """The program calls a function of this name, until `label` is taken away; what it runs goes by that name."""
        self.label, self._function, self._function_times = label, self._function + 1, self._times

    def named(self, operator: str) -> str:
        """What the program calls an operator: by the function it asked for."""
        # The backward pass is one call of the program; there, operators go by their own names.
        label = self.label if self.phase == "forward" else None
        return label or readable(operator)

    def place(self) -> tuple[str, str]:
        """The phase, and the module that is running."""
        node = self._owner()
        return self.phase, node.name or node.kind

    def begin_backward(self) -> None:
        """The forward pass has ended."""
        if self.live is not None:
            self.live.forward_ends()
        self.phase = "backward"

    def end(self) -> None:
        """The program has ended, and what it returned is still alive; an optimiser's step may follow."""
        if self.live is not None:
            if self.phase == "forward":
                self.live.forward_ends()
            self.memory, self.live = self.live.result(), None

    def hold_state(self, size: int) -> None:
        """Bytes an optimiser keeps from step to step."""
        if self.memory is not None:
            self.memory = replace(self.memory, optimiser=size)

    # Calls ---------------------------------------------------------------------------------------------------

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Operators called inside are part of something counted already."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before

    @contextmanager
    def repeated(self, times: int) -> Iterator[None]:
        """What is recorded inside happens so many times."""
        before, self._times = self._times, self._times * times
        try:
            yield
        finally:
            self._times = before

    @contextmanager
    def measured(self) -> Iterator[list[OperationCount]]:
        """What is recorded inside goes to the list that is returned, not to the tally."""
        before, counts = self._measured, []  # type: ignore[var-annotated]
        self._measured = counts
        try:
            yield counts
        finally:
            self._measured = before

    def record(self, call: Call, *, is_view: bool = False, rule: Any = None) -> None:
        """Count one call."""
        if self.paused:
            return
        sparse = has_sparse(call)
        rule = rule or (find_sparse_rule if sparse else find_rule)(call.operator)
        if rule is None:
            self.record_unknown(call.operator, NOT_DENSE if sparse else "no formula")
            count = NOTHING
        else:
            count = self._counted(with_output_mask(call), rule)
        self._add(call, count, is_view)

    def _counted(self, call: Call, rule: Any) -> OperationCount:
        count = self._by_rule(call, rule)
        if not count:
            return NOTHING
        _refuse_negative(call, count)
        # The notebook's rules are for inference.
        count = count if self.phase == "forward" or count.notebook == 0 else replace(count, notebook=0)
        if _on_integers(call):
            whole = count.total + count.integer
            return OperationCount(integer=whole, macs=count.macs, padding_macs=count.padding_macs)
        return self._of_complex(call, count)

    def _by_rule(self, call: Call, rule: Any) -> OperationCount:
        """What the rule says of real numbers; nothing, noted as unknown, where it says that it cannot tell."""
        is_empty = any(tensor.elements == 0 for tensor in [*call.tensors, *call.outputs])
        try:
            count: OperationCount = rule(as_functional(call))
        except NotImplementedError as error:
            self.record_unknown(call.operator, str(error))
            return NOTHING
        except InputError:
            # What the operator itself refuses: an InputError is a ValueError too.
            raise
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError) as error:
            if is_empty and isinstance(error, ZeroDivisionError):
                # A quotient of sizes, of which one is zero: there is nothing to do.
                return NOTHING
            raise CountingError(f"the formula of {call.operator} failed on this call: {error!r}") from error
        self._notes.update(dict.fromkeys(call.notes))
        # "n - 1 additions" of a formula is meant for n of at least one.
        return count.map(at_least_zero) if is_empty else count

    def _of_complex(self, call: Call, count: OperationCount) -> OperationCount:
        if not any(tensor.dtype.is_complex for tensor in [*call.tensors, *call.outputs]):
            return count
        found = complex_count(call, call.operator.removesuffix("_"), count)
        if found is None:
            self.record_unknown(call.operator, "its formula counts real arithmetic, the tensors are complex")
        return found or NOTHING

    def _add(self, call: Call, count: OperationCount, is_view: bool) -> None:
        if self._measured is not None:
            self._measured.append(count * self._times)
            return
        name = self.named(call.operator.partition("::")[2])
        node = self._owner()
        if is_view and count is NOTHING:
            return
        row = self._row(node, name)
        times = self._times
        if self.label is None or self.phase != "forward":
            row.begin_call(None, times)
        else:
            row.begin_call(self._function, self._function_times)
        row.calls += times
        if call.outputs:
            row.shape = call.outputs[0].shape
        if count is not NOTHING:
            row.own = row.own + (count if times == 1 else count * times)
        read, written = traffic(call)
        row.read, row.written = row.read + read * times, row.written + written * times

    def _row(self, node: Node, name: str) -> Row:
        """The row of an operator in a module, in the present phase."""
        row = node.rows.get((self.phase, name))
        if row is None:
            row = node.rows[self.phase, name] = Row(name, self._clock())
        return row

    def record_unknown(self, operator: str, reason: str) -> None:
        """Note an operator that cannot be counted, with the line of the program that called it."""
        self._row(self._owner(), self.named(operator.rpartition("::")[2])).unknown_calls += self._times
        calls, sites = self._unknown.setdefault((operator, reason), (0, {}))
        if len(sites) < _MAX_SITES:
            sites[call_site()] = None
        self._unknown[operator, reason] = (calls + self._times, sites)

    # Result --------------------------------------------------------------------------------------------------

    def tally(self) -> Tally:
        """Everything recorded so far, as a frozen tree."""
        unknown = tuple(
            UnknownOperator(operator, calls, tuple(sites), reason)
            for (operator, reason), (calls, sites) in self._unknown.items()
        )
        root, notes = self.root, tuple(self._notes)
        if root.kind and not root.children:
            root.name = root.kind
            return Tally(tuple(module_layers(root)), unknown, self.memory, notes)
        held = (Layer(root.kind, root.kind, parameters=root.parameters),) if root.parameters else ()
        return Tally((*held, *layers_of(root)), unknown, self.memory, notes)


def _refuse_negative(call: Call, count: OperationCount) -> None:
    """No computation has fewer than no operations: a formula that says so is wrong."""
    amounts = count.to_dict().items()
    negative = [name for name, amount in amounts if (amount < 0 if isinstance(amount, int) else amount.is_negative)]
    if negative:
        raise CountingError(
            f"the formula of {call.operator} failed on this call: it counts fewer than no operations of kind "
            f"{', '.join(negative)}"
        )


def _on_integers(call: Call) -> bool:
    """Whether a call computes on integers alone."""
    # Products of quantised numbers are scaled in floating point: their rules say which is which.
    tensors = [*call.tensors, *call.outputs]
    return not (call.operator.startswith("quantized::") or any(tensor.is_floating for tensor in tensors))


def readable(operator: str) -> str:
    """The name of an operator as the function's it belongs to: `batch_norm_backward`, `softmax_backward`."""
    name = operator.strip("_")
    for prefix in ("native_", "cudnn_", "miopen_", "mkldnn_", "thnn_"):
        name = name.removeprefix(prefix)
    name = name.replace("_backward_data", "_backward").replace("_dense_backward", "_backward")
    return {"threshold_backward": "relu_backward"}.get(name, name)


def call_site() -> str:
    """`file:line` of the innermost frame that is neither torch's nor this package's counting code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if is_program_code(filename):
            return f"{filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "unknown place"


def is_program_code(filename: str) -> bool:
    """Whether a file is the counted program's, not torch's or this package's counting code."""
    # Code that torch generates has names in angle brackets; so has what a person types, which is a program.
    generated = filename.startswith("<") and not filename.startswith(("<stdin", "<string", "<ipython"))
    return not generated and not filename.startswith((_OWN_CODE, _TORCH_CODE))


def specification(tensor: torch.Tensor, read_size: Any) -> TensorSpec:
    """What formulas may know of a tensor."""
    shape = tuple(map(read_size, tensor.shape))
    stored = _stored(tensor, read_size)
    held = _held(tensor, shape, stored)
    return TensorSpec(shape, true_type(tensor), known_value(tensor), allowed_band(tensor), held, tensor.layout, stored)


def _stored(tensor: torch.Tensor, read_size: Any) -> Number | None:
    """Values of a sparse tensor, which of fakes only those know that were made from indices and values."""
    # Of a result computed from sparse tensors a fake says that it holds nothing.
    return (read_size(tensor._nnz()) or None) if tensor.layout == torch.sparse_coo else None


def _held(tensor: torch.Tensor, shape: tuple[Number, ...], stored: Number | None) -> Number | None:
    """Elements in memory of a view that repeats them, or of a sparse tensor; None of a tensor that has them all."""
    if tensor.layout != torch.strided:
        return 0 if stored is None else stored * prod(shape[tensor.sparse_dim() :])
    # A stride that is a symbol is none of a repeated axis.
    repeated = [isinstance(stride, int) and stride == 0 for stride in tensor.stride()]
    return prod(size for size, again in zip(shape, repeated, strict=True) if not again) if any(repeated) else None
