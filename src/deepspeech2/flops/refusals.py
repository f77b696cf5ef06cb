"""Words for what cannot be counted: the line of the program, the value it needed, an error in one line."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deepspeech2.flops.recorder import is_program_code
from deepspeech2.flops.refused_tensors import (
    NO_COMPRESSED_TENSORS,
    NO_MASKED_TENSORS,
    NO_NESTED_TENSORS,
    NO_TENSORS_OF_A_CLASS,
)

# Of a line of the program that an error quotes.
_LONGEST_SOURCE = 120
# Code of torch's own layers and functions.
_LAYERS = tuple(str(Path(torch.__file__).parent / name) for name in ("nn", "ao", "functional.py"))


# What torch says where the program meets what stands for its tensors here -> what cannot be counted.
_CLEARER = {
    "prim::layout does not exist": NO_MASKED_TENSORS,
    "Creating a new Tensor subclass": NO_TENSORS_OF_A_CLASS,
    "_nested_tensor_from": NO_NESTED_TENSORS,
    "Values and compressed tensor instance need to be on the same device": NO_COMPRESSED_TENSORS,
}
_NESTED_CODE = str(Path(torch.__file__).parent / "nested")


def message_of(error: Exception) -> str:
    """The line of an error that says what happened: the last one of TorchScript's, the first one of others."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    for theirs, ours in _CLEARER.items():
        if theirs in lines[0]:
            return with_line(ours, error)
    if any(place.filename.startswith(_NESTED_CODE) for place in traceback.extract_tb(error.__traceback__)):
        return with_line(NO_NESTED_TENSORS, error)
    if "TorchScript interpreter" in lines[0]:
        return _script_message(lines)
    if lines[0].rstrip().endswith(":") and len(lines) > 1:
        # What it says stands in the next line.
        return f"{lines[0].strip()} {lines[1].strip()}"
    return lines[0] if not isinstance(error, KeyError | ZeroDivisionError) else f"{type(error).__name__}: {lines[0]}"


def _script_message(lines: list[str]) -> str:
    """The error of a script; where it came without words, the line of the program that failed."""
    last = lines[-1].strip()
    marks = [index for index, line in enumerate(lines) if "<--- HERE" in line]
    if last.rstrip(":").endswith("Error") and marks:
        return f"{last.rstrip(':')} at `{lines[marks[-1] - 1].strip()}`"
    return last


def shape_text(value: Any) -> str:
    """The shape of a tensor, the type of anything else."""
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__


# What of a tensor's values an operator needs.
_NEEDS = {
    "_local_scalar_dense": "its one number, as item(), if and int() take it",
    "nonzero": "the places where it is not zero, of which there may be any number",
    "_unique2": "how many different values it has",
    "unique_dim": "how many different rows it has",
    "unique_consecutive": "how many runs of equal values it has",
    "masked_select": "how many elements its mask selects",
    "bincount": "its largest value",
    "repeat_interleave": "how often to repeat each of its elements",
    "equal": "whether it equals another",
}


def needed_value(error: BaseException) -> str:
    """What of a tensor a program asked for."""
    operator = str(getattr(error, "func", None) or "a branch")
    need = _NEEDS.get(operator.removeprefix("aten.").partition(".")[0])
    return f"{operator}: {need}" if need else operator


def way_out(program: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Integers that have no values because they are on the meta device: lengths and paddings a program may ask for."""
    pairs = [*((f"input {place}", value) for place, value in enumerate(args)), *kwargs.items()]
    if isinstance(program, torch.nn.Module):
        pairs += program.named_buffers()
    bare = [
        name
        for name, value in pairs
        if isinstance(value, torch.Tensor) and value.is_meta and not value.is_floating_point()
    ]
    if not bare:
        return ""
    more = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
    return f"integers on the meta device have no values: make them on the CPU ({bare[0]}{more}), or "


def with_line(words: str, error: BaseException) -> str:
    """What is said of an error, and the line of the program that made it, where the program had begun."""
    place = failing_line(error)
    return words if place == _NOWHERE else f"{words}; met at {place}"


_NOWHERE = "an unknown place"


def failing_line(error: BaseException) -> str:
    """`file:line` of the innermost frame of the program in an error's traceback, and what is written there.

    Of a program that is all torch's (a Sequential of its layers) it is the innermost line of a layer.
    """
    program, layer, step = "", "", error.__traceback__
    while step is not None:
        filename, line = step.tb_frame.f_code.co_filename, step.tb_lineno
        source = linecache.getline(filename, line).strip()
        place = f"{filename}:{line}" + (f" ({source[:_LONGEST_SOURCE]})" if source else "")
        if is_program_code(filename):
            program = place
        elif filename.startswith(_LAYERS):
            layer = place
        step = step.tb_next
    return program or layer or _NOWHERE


_PRODUCTS = (
    torch.ops.aten.mm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.baddbmm.default,
    torch.ops.aten.linear.default,
)


def refuse_two_types(operator: Any, args: Any) -> None:
    """Torch's kernels refuse factors of two types in a product; its functions for shapes let them pass."""
    if operator not in _PRODUCTS:
        return
    kinds = [value.dtype for value in args if isinstance(value, torch.Tensor)]
    if len(set(kinds)) > 1:
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {' and '.join(map(str, kinds))}")
