"""Whole models of speech, language and vision, written out, with their multiply-accumulates derived by hand.

A model is given by its class, example inputs of any size, and a derivation. Symbols of the derivations: B batch, T the
length (frames, positions, pixels of a side), d width. A linear layer from n to m costs n m multiply-accumulates per
position; a convolution of k taps n m k per position of its output, taps on padding included; grouped by g, n m k / g;
attention over P pairs of a query and a key P d for the scores and P d for the mixing; an LSTM step 4 h (n + h), a GRU
step 3 h (n + h).

`fixed` are products with an operand that needs no gradient (inputs, tables, masks): the gradient of any other product
is two of the same size, theirs is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class WholeModel:
    """One model.

    Attributes:
        build: makes it, with weights.
        inputs: example tensors of given sizes, on the CPU.
        sizes: the sizes of the example.
        others: sizes the formula is held against, on the same residue class where it is interpolated.
        macs: multiply-accumulates by hand.
        fixed: products whose gradient is one product, by hand.
        axes: which axis of which input each symbol stands for.
        without: ways it cannot arrive, with the reason.
        exported: products the ONNX exporter adds or folds away, by hand.
        recomputed: products the backward pass does again (the scores of fused attention).
    """

    build: Callable[[], nn.Module]
    inputs: Callable[..., tuple[torch.Tensor, ...]]
    sizes: dict[str, int]
    others: dict[str, int]
    macs: Callable[..., int]
    fixed: Callable[..., int]
    axes: dict[str, list[tuple[int, int]]]
    without: dict[str, str] = field(default_factory=dict)
    exported: Callable[..., int] = lambda **_: 0
    recomputed: Callable[..., int] = lambda **_: 0


MODELS: dict[str, WholeModel] = {}


def add(name: str, **parts: Any) -> None:
    """Register a model; a name is taken once."""
    assert name not in MODELS
    MODELS[name] = WholeModel(**parts)


def all_models() -> dict[str, WholeModel]:
    """Every model of this package."""
    from whole_models import attention, convolutional, recurrent

    assert attention.D and convolutional.SIDE and recurrent.H
    return MODELS
