"""What objects hold, in attributes and containers at any depth: its tensors, and how all of it is put back."""

from __future__ import annotations

import inspect
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from types import MappingProxyType, ModuleType, NoneType
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from deepspeech2.errors import InputError

# What is told at a glance to hold nothing. A proxy answers for something else, which may be gone.
_HOLDS_NOTHING = frozenset({str, bytes, int, float, complex, bool, NoneType, ModuleType, *weakref.ProxyTypes})
# Graphs, compilers and the like: what they hold is theirs, and leads to all of torch.
_MACHINERY = ("torch._", "torch.fx.", "torch.export.", "torch.jit.")
# In the place of what a slot does not hold.
_EMPTY = object()
# How a container is read, emptied and filled, whatever a subclass makes of it. An ordered dictionary comes before the
# others, whose methods would break its order.
_CONTAINERS: dict[type, tuple[Any, Any, Any]] = {
    OrderedDict: (OrderedDict.items, OrderedDict.clear, OrderedDict.update),
    dict: (dict.items, dict.clear, dict.update),
    list: (list.__iter__, list.clear, list.extend),
    deque: (deque.__iter__, deque.clear, deque.extend),
    set: (set.__iter__, set.clear, set.update),
}


@dataclass(frozen=True)
class _Places:
    """Where objects of a class hold what they hold.

    Attributes:
        container: of `_CONTAINERS`, what the class is; None for others.
        parts: reads what is in a container, also in one that cannot be changed.
        attributes: whether objects have a dictionary of attributes that is theirs alone.
        slots: descriptors of `__slots__`.
    """

    container: type | None = None
    parts: Callable[[Any], Iterable[Any]] | None = None
    attributes: bool = False
    slots: tuple[Any, ...] = ()

    @classmethod
    def of(cls, kind: type) -> _Places:
        """The places of one class."""
        if issubclass(kind, torch.Tensor | torch.nn.Module):
            return cls()
        container = next((one for one in _CONTAINERS if issubclass(kind, one)), None)
        parts: Callable[[Any], Iterable[Any]] | None = None
        if issubclass(kind, dict):
            parts = dict.values
        elif issubclass(kind, MappingProxyType):
            parts = MappingProxyType.values
        elif container is not None or issubclass(kind, tuple | frozenset):
            parts = iter
        # Classes, functions and whatever else is called keep theirs to themselves.
        is_called = any("__call__" in vars(base) for base in kind.__mro__)
        if kind in _CONTAINERS or is_called or kind.__module__.startswith(_MACHINERY):
            return cls(container, parts)
        slots = [slot for base in kind.__mro__ if "__slots__" in vars(base) for slot in vars(base).values()]
        return cls(container, parts, attributes=True, slots=tuple(filter(inspect.ismemberdescriptor, slots)))


def tensors_within(value: Any) -> Iterator[torch.Tensor]:
    """The tensors an object holds, in its attributes and containers at any depth."""
    return (one for one in held(value) if isinstance(one, torch.Tensor))


def held(value: Any) -> Iterator[torch.Tensor | torch.nn.Module]:
    """Tensors and modules in an object, its attributes and containers; not what modules and functions hold."""
    return (one for one, _ in _walk([value]) if isinstance(one, torch.Tensor | torch.nn.Module))


@contextmanager
def same_state(root: Any) -> Iterator[None]:
    """Give an object back, at the end, what it holds now: in attributes and containers, at any depth.

    Of a module and its children that is what the forward stores in them: a state, a cache, a buffer, gradients; of
    anything else that is called, its own attributes. Not what functions, callable objects and modules that are no
    children hold in turn.

    Raises:
        InputError: a module has no sizes yet.
    """
    copies, steps = _copies(root)
    # A module that only a function's line holds is gone when that line has run.
    del root
    try:
        yield
    finally:
        for kind, container, before in copies:
            _refill(kind, container, before)
        for step in steps:
            step()


def _copies(root: Any) -> tuple[list[tuple[type, Any, tuple[Any, ...]]], list[Callable[[], None]]]:
    """The containers a root leads to, each with its contents; and what puts back slots and gradients."""
    roots = list(map(vars, _children(root))) if isinstance(root, torch.nn.Module) else [_attributes(root)]
    # Most containers are those of modules, and empty: for each there is one tuple.
    copies: list[tuple[type, Any, tuple[Any, ...]]] = []
    steps: list[Callable[[], None]] = []
    for one, places in _walk(roots):
        if places.container is not None:
            contents = _CONTAINERS[places.container][0]
            copies.append((places.container, one, tuple(contents(one))))
        if places.slots:
            steps += [partial(_fill_slot, slot, one, _in_slot(slot, one)) for slot in places.slots]
        if isinstance(one, torch.Tensor):
            with torch._C.DisableTorchFunction():
                if one.requires_grad and one.is_leaf:
                    steps.append(partial(_give_gradient, one, one.grad))
    return copies, steps


def _children(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """A module and its children that keep what they hold in Python."""
    for child in module.modules():
        if isinstance(child, torch.jit.ScriptModule):
            # TorchScript keeps its own attributes; the dispatch level replaces them call by call.
            continue
        if any(value is not None and is_lazy(value) for value in child._parameters.values()):
            raise InputError(f"{type(child).__name__} has no sizes before its first use; run it once, then count it")
        yield child


def _walk(roots: list[Any]) -> Iterator[tuple[Any, _Places]]:
    """Everything in the roots, nearest first and each once, themselves included."""
    seen: set[int] = set()
    classes: dict[type, _Places] = {}
    waiting = deque(roots)
    while waiting:
        one = waiting.popleft()
        kind = type(one)
        if kind in _HOLDS_NOTHING or id(one) in seen:
            continue
        seen.add(id(one))
        places = classes.get(kind)
        if places is None:
            places = classes[kind] = _Places.of(kind)
        yield one, places
        if places.parts is not None:
            waiting += places.parts(one)
        if places.attributes:
            waiting.append(_attributes(one))
        if places.slots:
            waiting += [_in_slot(slot, one) for slot in places.slots]


def _attributes(one: Any) -> dict[str, Any] | None:
    return vars(one) if hasattr(one, "__dict__") and not isinstance(one, type) else None


def _in_slot(slot: Any, owner: Any) -> Any:
    try:
        return slot.__get__(owner)
    except AttributeError:
        return _EMPTY


def _refill(kind: type, container: Any, before: tuple[Any, ...]) -> None:
    """Put back what a container held; one that still does is left alone, since other threads may be at it."""
    contents, clear, fill = _CONTAINERS[kind]
    now = tuple(contents(container))
    if (now or before) and _identities(kind, now) != _identities(kind, before):
        clear(container)
        fill(container, before)


def _identities(kind: type, contents: tuple[Any, ...]) -> list[int]:
    """What contents are known by: tensors that are equal may be different ones."""
    return list(map(id, chain.from_iterable(contents) if issubclass(kind, dict) else contents))


def _fill_slot(slot: Any, owner: Any, before: Any) -> None:
    if before is not _EMPTY:
        slot.__set__(owner, before)
    elif _in_slot(slot, owner) is not _EMPTY:
        slot.__delete__(owner)


def _give_gradient(tensor: torch.Tensor, before: torch.Tensor | None) -> None:
    with torch._C.DisableTorchFunction():
        if tensor.grad is not before:
            tensor.grad = before
