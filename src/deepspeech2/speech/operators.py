"""Functions as operators of torch, in the namespace `deepspeech2`.

`torch.library.custom_op` does this too, but imports torch's compiler when the operator is first called: a second and
more of every `ds2 transcribe`, which compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch

P = ParamSpec("P")
R = TypeVar("R")

LIBRARY = torch.library.Library("deepspeech2", "FRAGMENT")
FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""What an operator runs, by its name without the namespace."""


def operator(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function of tensors and numbers, fully annotated, an operator of its name, and return that.

    The function must not change its arguments nor return one of them. What it is to whoever traces it, and its gradient
    if it has one, come from `fake_result_of` and `torch.library.register_autograd`.
    """
    name = function.__name__
    schema = torch.library.infer_schema(function, mutates_args=())
    LIBRARY.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
    LIBRARY.impl(name, function, "CompositeExplicitAutograd")
    FUNCTIONS[name] = function
    return cast("Callable[P, R]", getattr(torch.ops.deepspeech2, name).default)


def fake_result_of(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate the function that makes an operator's results without values, for meta and fake tensors."""
    register: Any = torch.library.register_fake(f"deepspeech2::{name}", lib=LIBRARY)
    return cast("Callable[[Callable[P, R]], Callable[P, R]]", register)
