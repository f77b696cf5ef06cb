"""einsum where a contracted axis has one element: the product it is, and not the pointwise one torch makes of it.

Below, torch contracts pairs of operands by `bmm`, but where no axis of more than one element is summed it multiplies
element by element, which does not look like dot products of length one. `mm` of the same matrices does, so here such
a pair is contracted by `bmm`. All other equations are torch's own affair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from deepspeech2.flops.functions import register_function
from deepspeech2.flops.recorder import Recorder
from deepspeech2.flops.whole import SizeOf


@dataclass(frozen=True, slots=True)
class _Operand:
    """A tensor and the letter of each of its axes, each letter once."""

    letters: str
    tensor: torch.Tensor

    def size(self, letter: str) -> Any:
        return self.tensor.shape[self.letters.index(letter)]

    def summed(self, letters: str) -> _Operand:
        """The sum over some axes."""
        axes = [self.letters.index(letter) for letter in letters if letter in self.letters]
        if not axes:
            return self
        rest = "".join(letter for letter in self.letters if letter not in letters)
        return _Operand(rest, self.tensor.sum(axes))


@register_function(torch.einsum)
def _einsum(recorder: Recorder, read_size: SizeOf, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    read = _read(args)
    if kwargs or read is None:
        return torch.einsum(*args, **kwargs)
    operands, kept = read
    if not _contracts_one(operands, kept):
        return torch.einsum(*args)
    # In torch's order: from the left, each with what the ones before it gave.
    first, *rest = operands
    for index, other in enumerate(rest):
        later = "".join(operand.letters for operand in rest[index + 1 :])
        first = _contracted(first, other, "".join(dict.fromkeys(kept + later)))
    first = first.summed("".join(letter for letter in first.letters if letter not in kept))
    return first.tensor.permute([first.letters.index(letter) for letter in kept])


def _read(args: tuple[Any, ...]) -> tuple[list[_Operand], str] | None:
    """The operands and the letters of the result, or None for a notation that is left to torch."""
    if not args or not isinstance(args[0], str):
        return None
    tensors = args[1] if len(args) == 2 and isinstance(args[1], list | tuple) else args[1:]
    left, arrow, kept = args[0].replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors) or len(tensors) < 2:
        return None
    if not arrow:
        letters = sorted(set(left) - set(",."))
        kept = ("..." if "..." in left else "") + "".join(one for one in letters if left.count(one) == 1)
    terms, kept = _without_dots(terms, kept, [tensor.dim() for tensor in tensors])
    if any(
        len(set(term)) != len(term) or len(term) != tensor.dim() for term, tensor in zip(terms, tensors, strict=True)
    ):
        return None
    if len(tensors) > 2 and torch.backends.opt_einsum.is_available() and torch.backends.opt_einsum.enabled:
        # The order of contraction is another package's.
        return None
    return [_Operand(term, tensor) for term, tensor in zip(terms, tensors, strict=True)], kept


def _without_dots(terms: list[str], kept: str, axes: Sequence[int]) -> tuple[list[str], str]:
    """The axes that three dots stand for, as letters no equation has; aligned at the last one."""
    counts = [number - len(term) + 3 if "..." in term else 0 for term, number in zip(terms, axes, strict=True)]
    dots = "".join(chr(0x3B1 + index) for index in range(max(counts)))
    terms = [term.replace("...", dots[len(dots) - count :]) for term, count in zip(terms, counts, strict=True)]
    return terms, kept.replace("...", dots)


def _contracts_one(operands: Sequence[_Operand], kept: str) -> bool:
    """Whether a letter that several operands have, and the result has not, stands for one element."""
    letters = {letter for operand in operands for letter in operand.letters} - set(kept)
    for letter in letters:
        sizes = [operand.size(letter) for operand in operands if letter in operand.letters]
        if len(sizes) > 1 and any(type(size) is int and size == 1 for size in sizes):
            return True
    return False


def _contracted(one: _Operand, other: _Operand, kept: str) -> _Operand:
    """Two operands made one: a product of matrices for every choice of the letters that both have and keep."""
    common = [letter for letter in one.letters if letter in other.letters]
    one = one.summed("".join(letter for letter in one.letters if letter not in kept + other.letters))
    other = other.summed("".join(letter for letter in other.letters if letter not in kept + one.letters))
    batch = [letter for letter in common if letter in kept]
    inner = [letter for letter in common if letter not in kept]
    if not inner:
        letters = one.letters + "".join(letter for letter in other.letters if letter not in one.letters)
        product = torch.einsum(f"{one.letters},{other.letters}->{letters}", one.tensor, other.tensor)
        return _Operand(letters, product)
    # An axis of one element against one of more: torch sums the longer one first.
    sizes = {letter: (one.size(letter), other.size(letter)) for letter in common}
    for letter in inner:
        if sizes[letter][0] != sizes[letter][1]:
            one, other = (_shortened(operand, letter) for operand in (one, other))
    rows = [letter for letter in one.letters if letter not in common]
    columns = [letter for letter in other.letters if letter not in common]
    repeats = [max(sizes[letter]) for letter in batch]
    left = _matrices(one, batch, rows, inner, repeats)
    right = _matrices(other, batch, inner, columns, repeats)
    shape = [*repeats, *[one.size(letter) for letter in rows], *[other.size(letter) for letter in columns]]
    return _Operand("".join([*batch, *rows, *columns]), torch.bmm(left, right).reshape(shape))


def _shortened(operand: _Operand, letter: str) -> _Operand:
    axis = operand.letters.index(letter)
    if operand.tensor.shape[axis] == 1:
        return operand
    return _Operand(operand.letters, operand.tensor.sum(axis, keepdim=True))


def _matrices(
    operand: _Operand, batch: Sequence[str], rows: Sequence[str], columns: Sequence[str], repeats: Sequence[Any]
) -> torch.Tensor:
    order = [operand.letters.index(letter) for letter in (*batch, *rows, *columns)]
    tensor = operand.tensor.permute(order)
    tensor = tensor.expand(*repeats, *tensor.shape[len(batch) :])
    sizes = [1, 1, 1]
    for place, letters in enumerate((batch, rows, columns)):
        for letter in letters:
            sizes[place] = sizes[place] * (repeats[batch.index(letter)] if place == 0 else operand.size(letter))
    return tensor.reshape(sizes)
