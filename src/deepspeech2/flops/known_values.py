"""KnownValues: what the trace knows of the values of small tensors, for lengths and masks that decide a count.

Values are known of integer and boolean inputs, of masks of 0 and -inf, of constants, and of everything a program
computes from these alone (`lengths // 2`, `torch.ones(7, 7).tril() == 0`). Such a computation is carried out beside its
fake twin. What depends on weights or on other floating-point inputs stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map_only

_LIMIT = 1 << 20
_ATTRIBUTE = "_known_value"
_INDEXED = frozenset({"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"})
_BAGS = frozenset({"_embedding_bag", "_embedding_bag_forward_only"})
_VALUE_DEPENDENT = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


def known_value(tensor: Any) -> torch.Tensor | None:
    """The real tensor a fake one stands for, where the trace knows it."""
    value = getattr(tensor, _ATTRIBUTE, None)
    return value if value is not None else getattr(tensor, "constant", None)


def known_integers(tensor: Any) -> list[int] | None:
    """The values of a list of integers or an integer tensor, or None where they are unknown."""
    if isinstance(tensor, int):
        return [tensor]
    if isinstance(tensor, list | tuple):
        return [int(value) for value in tensor]
    value = known_value(tensor)
    if value is None:
        return None
    with _disable_current_modes():
        return [int(item) for item in value.flatten().tolist()]


def is_read(tensor: torch.Tensor) -> bool:
    """Whether the values of a tensor that is given or held count: integers, truth values and masks, on the CPU."""
    if type(tensor) is not torch.Tensor or tensor.device.type != "cpu" or tensor.is_complex():
        return False
    return not tensor.is_floating_point() or _is_mask(tensor)


def _is_mask(tensor: torch.Tensor) -> bool:
    """Whether a floating-point tensor is a mask, small enough to keep: -inf somewhere and 0 everywhere else."""
    if tensor.requires_grad or tensor.layout != torch.strided or tensor.dim() < 2 or not 0 < tensor.numel() <= _LIMIT:
        return False
    with _disable_current_modes():
        forbidden = tensor == float("-inf")
        return bool(forbidden.any()) and bool((forbidden | (tensor == 0)).all())


class KnownValues:
    """Runs operators on fakes, and beside them on the values of those whose arguments are all known."""

    def __init__(self, mode: FakeTensorMode) -> None:
        self._mode = mode
        # Storages of the caller's own tensors, which must not be written, and of values that are out of date.
        self._borrowed: set[int] = set()
        self._stale: set[int] = set()

    def learn(self, fake: torch.Tensor, value: torch.Tensor, *, borrowed: bool = False) -> None:
        """Note what a fake stands for."""
        if value.layout == torch.strided and value.numel() <= _LIMIT and not isinstance(value, FakeTensor):
            setattr(fake, _ATTRIBUTE, value)
            if borrowed:
                self._borrowed.add(_storage(value))

    def learn_constant(self, fake: torch.Tensor, value: Any) -> None:
        """A constant of the program is born, `torch.tensor([7, 3])`; a copy is kept, since the program may write it."""
        if isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor) and value.numel() <= _LIMIT:
            with _disable_current_modes():
                self.learn(fake, value.detach().clone())

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call an operator on fakes; its results know their values if all its arguments do."""
        if func._opname in _INDEXED:
            args = self._with_places(args)
        values = self._values(func, args, kwargs)
        if values is not None and not _VALUE_DEPENDENT.isdisjoint(func.tags):
            return self._run_on_values(func, *values)
        written = list(_written(func, args, kwargs)) if func._schema.is_mutable else []
        outputs = func(*args, **kwargs)
        if written and (values is None or any(self._is_borrowed(tensor) for tensor in written)):
            self._forget(written)
        elif values is not None:
            self._follow(func, values, outputs)
        elif func._opname in _BAGS:
            self._follow_bags(func, args, outputs)
        return outputs

    def _follow_bags(self, func: Any, args: Any, outputs: Any) -> None:
        """Which bag a row of a table goes to, and how many each bag has: ids and offsets tell, whatever the rows hold.

        The kernel itself says so, of a table of one zero for all its rows.
        """
        table, given = args[0], args[1:3]
        values = [known_value(tensor) for tensor in given]
        if any(value is None or _storage(value) in self._stale for value in values):
            return
        options = [None if isinstance(option, torch.Tensor) else option for option in args[3:]]
        with _disable_current_modes(), torch.no_grad():
            try:
                results = func(torch.zeros(1, 1).expand(table.shape[0], 1), *values, *options)
            except RuntimeError:
                return
        for fake, real in list(zip(outputs, results, strict=True))[1:3]:
            if fake.shape == real.shape:
                self.learn(fake, real)

    def _with_places(self, args: Any) -> Any:
        """Known boolean indices as the integer ones they stand for, so that the number of elements is known too."""
        if not isinstance(args[1], list | tuple):
            return args
        indices: list[Any] = []
        for index in args[1]:
            known = known_value(index) if isinstance(index, torch.Tensor) and index.dtype == torch.bool else None
            if known is None or _storage(known) in self._stale:
                indices.append(index)
                continue
            with _disable_current_modes():
                places = known.nonzero(as_tuple=True)
            indices += [self._faked(place) for place in places]
        return (args[0], indices, *args[2:])

    def _faked(self, value: torch.Tensor) -> torch.Tensor:
        with self._mode:
            fake = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype)
        self.learn(fake, value)
        return fake

    def _run_on_values(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An operator whose result no shape can tell, such as `item` or `nonzero`."""
        with _disable_current_modes():
            result = func(*args, **kwargs)

        return tree_map_only(torch.Tensor, self._faked, result)

    def _values(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        """The arguments with values in place of fakes, or None if one is not known or the result is random."""
        name = func._opname
        if torch.Tag.nondeterministic_seeded in func.tags or name.startswith(("empty", "new_empty", "resize")):
            return None
        for value in tree_flatten((args, kwargs))[0]:
            if isinstance(value, torch.SymInt):
                return None
            if isinstance(value, torch.Tensor):
                real = known_value(value)
                if real is None or _storage(real) in self._stale:
                    return None
        real_args, real_kwargs = tree_map_only(torch.Tensor, known_value, (args, dict(kwargs)))
        if "device" in real_kwargs:
            real_kwargs["device"] = torch.device("cpu")
        return real_args, real_kwargs

    def _follow(self, func: Any, values: tuple[Any, Any], outputs: Any) -> None:
        fakes = [value for value in tree_flatten(outputs)[0] if isinstance(value, torch.Tensor)]
        if any(fake.numel() > _LIMIT for fake in fakes):
            return
        with _disable_current_modes(), torch.no_grad():
            try:
                results = func(*values[0], **values[1])
            except (RuntimeError, NotImplementedError):
                return
        reals = [value for value in tree_flatten(results)[0] if isinstance(value, torch.Tensor)]
        for fake, real in zip(fakes, reals, strict=True):
            self.learn(fake, real)

    def _is_borrowed(self, tensor: torch.Tensor) -> bool:
        value = known_value(tensor)
        own = getattr(tensor, _ATTRIBUTE, None) is not None
        return value is not None and (not own or _storage(value) in self._borrowed)

    def _forget(self, written: list[torch.Tensor]) -> None:
        for tensor in written:
            value = known_value(tensor)
            if value is not None:
                self._stale.add(_storage(value))
            if hasattr(tensor, _ATTRIBUTE):
                delattr(tensor, _ATTRIBUTE)


def _storage(value: torch.Tensor) -> int:
    return int(value.untyped_storage()._cdata)


def _written(func: Any, args: Any, kwargs: Any) -> Iterator[torch.Tensor]:
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        value = args[index] if index < len(args) else kwargs.get(argument.name)
        yield from (item for item in tree_flatten(value)[0] if isinstance(item, torch.Tensor))
