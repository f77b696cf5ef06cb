"""Counting an ONNX call by the rule of the torch operator that does the same."""

from __future__ import annotations

from typing import Any

import deepspeech2.flops.operators  # noqa: F401  (registers the rules of torch's operators)
from deepspeech2.flops.operations import OperationCount
from deepspeech2.flops.registry import Call, find_rule


def count_as(operator: str, call: Call, **arguments: Any) -> OperationCount:
    """The count of `aten::operator` with these arguments and the results of the call."""
    rule = find_rule(f"aten::{operator}")
    assert rule is not None, operator
    return rule(Call(f"aten::{operator}", arguments, call.outputs[:1]))


def quotient(elements: Any, groups: Any) -> Any:
    """Elements of each group; 0 without groups."""
    return elements // groups if groups else 0
