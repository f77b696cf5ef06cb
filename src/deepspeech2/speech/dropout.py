"""Dropout of a training: outside the network, which as published has none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn import functional


@contextmanager
def inputs_dropped(layers: Iterable[nn.Module], probability: float) -> Iterator[None]:
    """Let layers see their first input with dropout while the block lasts and they are in training mode.

    The random numbers are torch's global ones.

    Args:
        layers: Modules whose first positional argument is a floating-point tensor.
        probability: Of an element to become zero; the others are divided by ``1 - probability``.
    """

    def drop(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (functional.dropout(inputs[0], probability, layer.training), *inputs[1:])

    hooks = [layer.register_forward_pre_hook(drop) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
