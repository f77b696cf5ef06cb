"""count_onnx: the operations of an ONNX file, from shapes alone."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch

from deepspeech2.errors import CheckpointError, DeepSpeech2Error, InputError, OptionError, UncountedOperatorError
from deepspeech2.flops.closed_form import ClosedForm
from deepspeech2.flops.onnx_graphs.closed_formulas import derive_formula, example_inputs, free_axes
from deepspeech2.flops.onnx_graphs.reading import read_onnx
from deepspeech2.flops.onnx_graphs.values import MOST_KNOWN, Value, tensor_value, value_of_type
from deepspeech2.flops.onnx_graphs.walking import Place, Walker
from deepspeech2.flops.tally import Tally

_SIGNS_OF_DAMAGE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError, AssertionError)


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that has been read and is ready to be counted for any inputs.

    Attributes:
        path: the file.
        model: the `onnx.ModelProto`, without the values of large tensors.
    """

    path: Path
    model: Any

    @classmethod
    def read(cls, path: Path) -> OnnxFile:
        """Read a file; raises what `count_onnx` raises of files."""
        return cls(path, read_onnx(path))

    @property
    def fixed_inputs(self) -> tuple[tuple[int, ...], ...] | None:
        """Shapes of the inputs, if the file fixes them all."""
        weights = {one.name for one in self.model.graph.initializer}
        wanted = [one for one in self.model.graph.input if one.name not in weights]
        shapes = [value_of_type(one.type).shape for one in wanted]
        return None if None in shapes else tuple(shape for shape in shapes if shape is not None)

    def formula(
        self, inputs: Any = None, symbolic: Mapping[str, Any] | None = None, *, strict: bool = False
    ) -> ClosedForm:
        """The closed formula in some dimensions, by default all axes the file names; raises as `count_onnx`."""
        named = free_axes(self.model.graph)
        weights = {one.name for one in self.model.graph.initializer}
        wanted = {one.name: one for one in self.model.graph.input if one.name not in weights}
        if symbolic is None:
            symbolic = {name: ... for name in named if name.isidentifier()}
        if not symbolic:
            raise OptionError(f"{self.path}: the file names no free axis; export it with dynamic axes")
        examples = example_inputs(wanted, _by_name(list(wanted.values()), inputs))
        return derive_formula(lambda given: self.count(given, strict=strict), examples, symbolic, named)

    def count(self, inputs: Any = None, *, strict: bool = False) -> Tally:
        """As `count_onnx`; raises what that raises of inputs."""
        try:
            return _count_model(self.model, inputs, strict)
        except DeepSpeech2Error:
            raise
        except _SIGNS_OF_DAMAGE as error:
            # Whatever a graph may hold where another type, name or number belongs.
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise CheckpointError(
                f"{self.path}: expected a valid ONNX graph, found a damaged one ({reason})"
            ) from error


@overload
def count_onnx(
    path: str | os.PathLike[str], inputs: Any = ..., *, strict: bool = ..., symbolic: None = ...
) -> Tally: ...


@overload
def count_onnx(
    path: str | os.PathLike[str], inputs: Any = ..., *, strict: bool = ..., symbolic: Mapping[str, Any]
) -> ClosedForm: ...


def count_onnx(
    path: str | os.PathLike[str],
    inputs: Any = None,
    *,
    strict: bool = False,
    symbolic: Mapping[str, Any] | None = None,
) -> Tally | ClosedForm:
    """Count every operation of one run of an ONNX file, exactly, without running it.

    Weights stay on the disk, external data is not opened. The formulas are those of the torch operators, so the same
    graph counts the same whichever file it comes from. `If` is counted by the branch that runs, `Loop` and `Scan` by
    their trip counts; functions are inlined. Arithmetic on shapes and small constants is folded and costs nothing.
    `RNN`, `GRU` and `LSTM` have a recurrent product at every step, the first included, and run for `sequence_lens`
    where its values are known.

    Operators without a formula, and trip counts and branches that depend on values, make the total a lower bound and
    are listed in `unknown` with the names of their nodes. Parameters are initialisers of floating point with at least
    one axis (and matrices of 8-bit integers), but for the statistics of batch normalisation; a file cannot tell
    other constants from parameters.

    Args:
        path: the file.
        inputs: for each input of the graph, in order or by name, a tensor, an array or a shape; one of these alone for
            a single input. Integer tensors of up to 4096 elements keep their values. None, and inputs left out, take
            the sizes the file declares.
        strict: raise instead of giving a lower bound.
        symbolic: dimensions to keep as symbols, giving a closed formula. Maps a name to `...`, the axis the file calls
            so, or to what `deepspeech2.count` takes. Axes without a size take an example's.

    Raises:
        ClosedFormError: the count has no closed formula in these dimensions.
        CheckpointError: the file cannot be read, or is no ONNX model, or is damaged.
        InputError: the inputs do not fit the graph, or its axes are free and nothing is given.
        OptionError: the package onnx is missing.
        UncountedOperatorError: `strict` and something cannot be counted.

    Example:
        ``count_onnx("encoder.onnx", [(1, 80, 3000)]).macs``
    """
    file = OnnxFile.read(Path(path))
    return file.count(inputs, strict=strict) if symbolic is None else file.formula(inputs, symbolic, strict=strict)


def _count_model(model: Any, inputs: Any, strict: bool) -> Tally:
    weights = {one.name for one in model.graph.initializer}
    wanted = [one for one in model.graph.input if one.name not in weights]
    given, sizes = _bound(wanted, _by_name(wanted, inputs))
    walker = Walker(model, sizes)
    tally = Tally(tuple(walker.walk_graph(model.graph, ChainMap(given), Place())), walker.unknown)
    if strict and tally.unknown:
        first = tally.unknown[0]
        more = f" and {len(tally.unknown) - 1} more" if len(tally.unknown) > 1 else ""
        raise UncountedOperatorError(
            f"{first.operator} cannot be counted ({first.reason}), node {first.sites[0]!r}{more}; register a formula "
            "for it with register_formula, or count without strict for a lower bound"
        )
    return tally


def _by_name(wanted: Sequence[Any], inputs: Any) -> dict[str, Any]:
    """What is given for each input of the graph."""
    names = [one.name for one in wanted]
    if inputs is None:
        return {}
    if isinstance(inputs, Mapping):
        strangers = [name for name in inputs if name not in names]
        if strangers:
            raise InputError(f"the graph has no input {strangers[0]!r}; its inputs: {_signature(wanted)}")
        return dict(inputs)
    values = list(inputs) if isinstance(inputs, tuple | list) and not _is_shape(inputs) else [inputs]
    if len(values) > len(names):
        raise InputError(f"{len(values)} inputs are given, the graph takes {len(names)}: {_signature(wanted)}")
    return dict(zip(names, values, strict=False))


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and bool(value) and all(isinstance(size, int) for size in value)


def _bound(wanted: Sequence[Any], given: Mapping[str, Any]) -> tuple[dict[str, Value], dict[str, int]]:
    """Inputs of the graph as values, and the sizes of its named axes."""
    values: dict[str, Value] = {}
    sizes: dict[str, int] = {}
    for one in wanted:
        if not one.type.HasField("tensor_type"):
            values[one.name] = Value(one.type)
            continue
        declared = one.type.tensor_type
        axes = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param for axis in declared.shape.dim]
        if one.name not in given:
            free = [axis or "?" for axis in axes if not isinstance(axis, int)]
            if free or not declared.HasField("shape"):
                raise InputError(f"input {one.name!r} has free axes; give shapes for {_signature(wanted)}")
            shape, data = tuple(int(axis) for axis in axes), None
        else:
            shape, data = _shape_and_values(given[one.name])
        fits = len(shape) == len(axes) and all(
            axis == size if isinstance(axis, int) else not axis or sizes.setdefault(axis, size) == size
            for axis, size in zip(axes, shape, strict=True)
        )
        if declared.HasField("shape") and not fits:
            raise InputError(f"input {one.name!r} is given {shape}, the graph takes {_signature(wanted)}")
        values[one.name] = tensor_value(declared.elem_type, shape, data)
    return values, sizes


def _shape_and_values(given: Any) -> tuple[tuple[int, ...], Any]:
    if isinstance(given, torch.Tensor):
        shape = tuple(map(int, given.shape))
        known = given.device.type == "cpu" and not given.is_floating_point() and given.numel() <= MOST_KNOWN
        return shape, given.numpy() if known else None
    if isinstance(given, np.ndarray):
        known = given.dtype.kind in "iub" and given.size <= MOST_KNOWN
        return given.shape, given if known else None
    if isinstance(given, tuple | list) and all(isinstance(size, int) and size >= 0 for size in given):
        return tuple(given), None
    raise InputError(f"expected a tensor, an array or a shape for each input, found {type(given).__name__}")


def _signature(wanted: Sequence[Any]) -> str:
    """Inputs of the graph with their axes, for messages."""
    texts = []
    for one in wanted:
        axes = one.type.tensor_type.shape.dim
        sizes = ", ".join(str(axis.dim_value) if axis.HasField("dim_value") else axis.dim_param or "?" for axis in axes)
        texts.append(f"{one.name} ({sizes})")
    return "; ".join(texts) or "none"
