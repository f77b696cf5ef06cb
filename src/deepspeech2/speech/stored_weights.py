"""Recurrent weights in fewer bytes: what limits one utterance at a time is how fast weights arrive, not arithmetic.

States, biases and sums stay float32; a weight is widened to float32 as it is read. What is stored:

- `float32`: the weight itself;
- `bfloat16`: rounded to 8 bits of precision, relative error at most 2**-8;
- `int8`: for every column (every unit the weight leads to) a float32 scale, its largest magnitude / 127, and whole
  multiples of it; absolute error at most half a scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from deepspeech2.errors import OptionError

WeightFormat = Literal["float32", "bfloat16", "int8"]
"""How recurrent weights are stored for inference."""


@dataclass(frozen=True)
class StoredWeight:
    """A weight that multiplies row vectors.

    Attributes:
        values: (from, to), float32, bfloat16 or int8.
        scales: (to,), of int8 values only.
    """

    values: Tensor
    scales: Tensor | None = None

    def restore(self) -> Tensor:
        """As float32."""
        values = self.values.float()
        return values if self.scales is None else values * self.scales


def store_weight(weight: Tensor, form: WeightFormat) -> StoredWeight:
    """Store a weight of shape (from, to) in a format.

    Raises:
        OptionError: The format is not known.
    """
    check_format(form)
    weight = weight.detach().float().contiguous()
    if form == "float32":
        return StoredWeight(weight)
    if form == "bfloat16":
        return StoredWeight(weight.bfloat16())
    largest = weight.abs().amax(dim=0)
    scales = torch.where(largest > 0, largest / 127, torch.ones_like(largest))
    return StoredWeight((weight / scales).round().clamp(-127, 127).to(torch.int8), scales)


def check_format(form: str) -> None:
    """Refuse a format that is not known.

    Raises:
        OptionError: Naming those that are.
    """
    if form not in get_args(WeightFormat):
        raise OptionError(f"expected weights as {', '.join(get_args(WeightFormat))}, found {form!r}")
