"""Which formula counts which operator; the door through which other parts and users add their own.

A rule sees a `Call`: names, shapes and dtypes; values only of masks and lengths. An operator without a
rule is not free: it is collected and named in the tally.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeAlias

import torch
from torch.utils._python_dispatch import _disable_current_modes

from deepspeech2.errors import CountingError
from deepspeech2.flops.formulas.bands import Band
from deepspeech2.flops.operations import Number, OperationCount


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a formula may know of a tensor.

    Attributes:
        shape: integers or expressions.
        dtype: its element type.
        value: the values, only of small tensors that depend on no weight and no floating-point input (masks, lengths).
        allowed: the pairs an attention mask allows, of a mask of any size that is built from positions.
        held: elements it holds in memory, where these are not all: an expanded view repeats them, a sparse tensor
            leaves zeros out (0 where the trace does not know how many it holds); None where it holds all.
        layout: how it is held; `torch.strided` is dense.
        stored: values a sparse tensor (COO) stores, in as many rows as its dense axes have; None where not known.
    """

    shape: tuple[Number, ...]
    dtype: torch.dtype
    value: torch.Tensor | None = field(default=None, compare=False, repr=False)
    allowed: Band | None = field(default=None, compare=False, repr=False)
    held: Number | None = field(default=None, compare=False, repr=False)
    layout: torch.layout = torch.strided
    stored: Number | None = field(default=None, compare=False, repr=False)

    @property
    def elements(self) -> Number:
        """Number of elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> Number:
        """Size in memory; what an expanded view repeats is there once, indices of a sparse tensor are not in it."""
        return (self.elements if self.held is None else self.held) * self.dtype.itemsize

    @property
    def is_floating(self) -> bool:
        """Whether arithmetic on it is floating-point arithmetic (real or complex)."""
        return self.dtype.is_floating_point or self.dtype.is_complex

    @property
    def is_sparse(self) -> bool:
        """Whether it holds some of its elements only, and says where they belong."""
        return self.layout != torch.strided

    @property
    def integers(self) -> list[int] | None:
        """The values of lengths, in order; None where they are not known."""
        if self.value is None:
            return None
        with _disable_current_modes():
            return [int(value) for value in self.value.flatten().tolist()]

    @property
    def last(self) -> Number:
        """Size of the last axis; one for a scalar."""
        return self.shape[-1] if self.shape else 1


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operator, tensors replaced by their specifications.

    Attributes:
        operator: qualified name, `aten::addmm`.
        arguments: by the parameter names of the operator's schema, defaults filled in.
        outputs: specifications of the tensors it returned, in order.
        notes: what a reader of the count has to know of this call, in sentences; see `note`.
    """

    operator: str
    arguments: Mapping[str, Any]
    outputs: tuple[TensorSpec, ...] = field(default=())
    notes: list[str] = field(default_factory=list, compare=False, repr=False)

    def __getitem__(self, name: str) -> Any:
        """The argument of this name."""
        return self.arguments[name]

    def note(self, sentence: str) -> None:
        """Have the tally say once what a formula assumes where it is not told."""
        self.notes.append(sentence)

    def get(self, name: str, default: Any = None) -> Any:
        """The argument of this name, or the default where the operator has none."""
        return self.arguments.get(name, default)

    @property
    def output(self) -> TensorSpec:
        """The first result."""
        return self.outputs[0]

    @property
    def tensors(self) -> list[TensorSpec]:
        """All tensors among the arguments, those in lists included."""
        found = []
        for value in self.arguments.values():
            if isinstance(value, TensorSpec):
                found.append(value)
            elif isinstance(value, list | tuple):
                found += [item for item in value if isinstance(item, TensorSpec)]
        return found


Rule: TypeAlias = Callable[[Call], OperationCount]
Operator: TypeAlias = "str | torch._ops.OpOverload | torch._ops.OpOverloadPacket"

_rules: dict[str, Rule] = {}


def operator_name(operator: Operator) -> str:
    """Qualified name without the overload: `aten::add` for `torch.ops.aten.add.Tensor`."""
    if isinstance(operator, str):
        return operator
    name: str = operator.name() if isinstance(operator, torch._ops.OpOverload) else operator._qualified_op_name
    namespace, _, rest = name.partition("::")
    return f"{namespace}::{rest.partition('.')[0]}"


def register_formula(*operators: Operator) -> Callable[[Rule], Rule]:
    """Declare how the calls of an operator are counted.

    Args:
        operators: `torch.ops.namespace.name` (with or without overload), or the name as a string
            `"namespace::name"`. In-place (`add_`) and `out=` variants of an operator share its formula.

    Raises:
        CountingError: one of them has a formula already.

    Example:
        >>> from deepspeech2 import OperationCount, register_formula
        >>> @register_formula("mylibrary::scale_and_shift")
        ... def scale_and_shift(call):
        ...     elements = call["x"].elements
        ...     return OperationCount(multiply=elements, add=elements)
    """

    def add(rule: Rule) -> Rule:
        for operator in operators:
            name = operator_name(operator)
            if name in _rules:
                raise CountingError(
                    f"{name} has a formula already ({_rules[name].__qualname__}); each operator has one"
                )
            _rules[name] = rule
        return rule

    return add


def find_rule(operator: Operator) -> Rule | None:
    """The rule of an operator, or None. In-place variants fall back on the operator itself."""
    name = operator_name(operator)
    rule = _rules.get(name)
    if rule is None and name.endswith("_") and not name.endswith("__"):
        rule = _rules.get(name[:-1])
    return rule


def as_functional(call: Call) -> Call:
    """A call of an in-place variant as one of the operator itself, whose rule may go by its name."""
    name = call.operator
    in_place = name.endswith("_") and not name.endswith("__") and name not in _rules
    return replace(call, operator=name[:-1]) if in_place else call
