"""What objects hold, in attributes and containers at any depth: its tensors, and how all of it is put back."""

from __future__ import annotations

import inspect
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
# How a container is emptied and filled, whatever a subclass makes of it. An ordered dictionary comes before the others,
# whose methods would break its order.
_CONTAINERS: dict[type, tuple[Any, Any, Any]] = {
    OrderedDict: (OrderedDict.items, OrderedDict.clear, OrderedDict.update),
    dict: (dict.items, dict.clear, dict.update),
    list: (list.__iter__, list.clear, list.extend),
    deque: (deque.__iter__, deque.clear, deque.extend),
    set: (set.__iter__, set.clear, set.update),
}


def tensors_within(value: Any) -> Iterator[torch.Tensor]:
    """The tensors an object holds, in its attributes and containers at any depth."""
    return (one for one in held(value) if isinstance(one, torch.Tensor))


def held(value: Any) -> Iterator[torch.Tensor | torch.nn.Module]:
    """Tensors and modules in an object, its attributes and containers; not what modules and functions hold."""
    return (one for one in _walk([value]) if isinstance(one, torch.Tensor | torch.nn.Module))


@contextmanager
def same_state(root: Any) -> Iterator[None]:
    """Give an object back, at the end, what it holds now: in attributes and containers, at any depth.

    Of a module and its children that is what the forward stores in them: a state, a cache, a buffer, gradients. Not
    what functions, other callable objects and modules that are no children hold.

    Raises:
        InputError: a module has no sizes yet.
    """
    steps = _steps_back(root)
    # A module that only a function's line holds is gone when that line has run.
    del root
    try:
        yield
    finally:
        for step in steps:
            step()


def _steps_back(root: Any) -> list[Callable[[], None]]:
    """What puts back all that the root holds now."""
    if isinstance(root, torch.nn.Module):
        roots: list[Any] = list(map(vars, _children(root)))
    else:
        # Of a callable object too, since it is what runs.
        roots = [] if _is_machinery(root) else [_attributes(root)]
    steps: list[Callable[[], None]] = []
    for one in _walk(roots):
        if isinstance(one, torch.Tensor):
            with torch._C.DisableTorchFunction():
                if one.requires_grad and one.is_leaf:
                    steps.append(partial(_give_gradient, one, one.grad))
            continue
        kind = next((kind for kind in _CONTAINERS if isinstance(one, kind)), None)
        if kind is not None:
            contents = _CONTAINERS[kind][0]
            steps.append(partial(_refill, kind, one, list(contents(one))))
        if not isinstance(one, torch.nn.Module):
            steps += [partial(_fill_slot, slot, one, value) for slot, value in _slots(one)]
    return steps


def _children(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """A module and its children that keep what they hold in Python."""
    for child in module.modules():
        if isinstance(child, torch.jit.ScriptModule):
            # TorchScript keeps its own attributes; the dispatch level replaces them call by call.
            continue
        if any(value is not None and is_lazy(value) for value in child._parameters.values()):
            raise InputError(f"{type(child).__name__} has no sizes before its first use; run it once, then count it")
        yield child


def _walk(roots: list[Any]) -> Iterator[Any]:
    """Everything in the roots, nearest first and each once, themselves included."""
    seen: set[int] = set()
    waiting = deque(roots)
    while waiting:
        one = waiting.popleft()
        if type(one) in _HOLDS_NOTHING or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += _parts(one)


def _parts(one: Any) -> list[Any]:
    """What something holds itself."""
    if isinstance(one, torch.Tensor | torch.nn.Module):
        return []
    parts: list[Any] = []
    if isinstance(one, dict | MappingProxyType):
        parts += dict.values(one) if isinstance(one, dict) else one.values()
    elif isinstance(one, list | tuple | set | frozenset | deque):
        parts += one
    if not callable(one) and not _is_machinery(one):
        parts.append(_attributes(one))
        parts += (value for _, value in _slots(one) if value is not _EMPTY)
    return parts


def _attributes(one: Any) -> dict[str, Any] | None:
    return vars(one) if hasattr(one, "__dict__") and not isinstance(one, type) else None


def _is_machinery(one: Any) -> bool:
    return type(one).__module__.startswith(_MACHINERY)


def _slots(one: Any) -> Iterator[tuple[Any, Any]]:
    """The descriptors of an object's `__slots__`, with what is in them."""
    for kind in type(one).__mro__:
        if "__slots__" not in vars(kind):
            continue
        for slot in filter(inspect.ismemberdescriptor, vars(kind).values()):
            try:
                yield slot, slot.__get__(one)
            except AttributeError:
                yield slot, _EMPTY


def _refill(kind: type, container: Any, before: list[Any]) -> None:
    """Put back what a container held; one that still does is left alone, since other threads may be at it."""
    contents, clear, fill = _CONTAINERS[kind]
    now = list(contents(container))
    # Contents are compared as what they are: tensors that are equal may be different ones.
    pairs = zip(chain(*now), chain(*before), strict=False) if issubclass(kind, dict) else zip(now, before, strict=False)
    if len(now) != len(before) or any(one is not other for one, other in pairs):
        clear(container)
        fill(container, before)


def _fill_slot(slot: Any, owner: Any, before: Any) -> None:
    if before is not _EMPTY:
        slot.__set__(owner, before)
    elif hasattr(owner, slot.__name__):
        slot.__delete__(owner)


def _give_gradient(tensor: torch.Tensor, before: torch.Tensor | None) -> None:
    with torch._C.DisableTorchFunction():
        if tensor.grad is not before:
            tensor.grad = before
