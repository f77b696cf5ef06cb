"""What objects hold, in attributes and containers at any depth: its tensors, and how all of it is put back."""

from __future__ import annotations

import inspect
import operator
import sys
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from types import MappingProxyType, ModuleType, NoneType
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.parameter import is_lazy

from deepspeech2.errors import InputError

# What is told at a glance to hold nothing. A proxy answers for something else, which may be gone.
_HOLDS_NOTHING = frozenset({str, bytes, int, float, complex, bool, NoneType, ModuleType, *weakref.ProxyTypes})
# Graphs, compilers, expressions and the like: what they hold is theirs, and leads to all of torch. Their caches of
# functools grow with every formula of a process.
MACHINERY = ("torch._", "torch.fx.", "torch.export.", "torch.jit.", "torch.utils._sympy.", "sympy.")
# Of the standard library only these may be a program's own: queues, locks, loggers and files serve others as well, and
# go on while a program is counted.
_OF_THE_LIBRARY = frozenset({"builtins", "collections", "types"})
# A container of more is a table, such as a vocabulary: no forward fills it, and copies would cost seconds.
_MOST = 10_000
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


# How the parts of what holds any are read, those of keys aside.
_PARTS: dict[type, Callable[[Any], Iterable[Any]]] = {
    dict: dict.values,
    MappingProxyType: MappingProxyType.values,
    tuple: tuple.__iter__,
    frozenset: frozenset.__iter__,
    list: list.__iter__,
    deque: deque.__iter__,
    set: set.__iter__,
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
        parts = next((read for base, read in _PARTS.items() if issubclass(kind, base)), None)
        # Classes, functions and whatever else is called keep theirs to themselves.
        is_called = any("__call__" in vars(base) for base in kind.__mro__)
        home = str(kind.__module__)
        of_others = home.partition(".")[0] in sys.stdlib_module_names and home not in _OF_THE_LIBRARY
        if kind in _CONTAINERS or is_called or of_others or home.startswith(MACHINERY):
            return cls(container, parts)
        return cls(container, parts, attributes=True, slots=_slots_of(kind))


def _slots_of(kind: type) -> tuple[Any, ...]:
    slots = [slot for base in kind.__mro__ if "__slots__" in vars(base) for slot in vars(base).values()]
    return tuple(filter(inspect.ismemberdescriptor, slots))


def tensors_within(value: Any) -> Iterator[torch.Tensor]:
    """The tensors an object holds, in its attributes and containers at any depth."""
    return (one for one in held(value) if isinstance(one, torch.Tensor))


def held(value: Any) -> Iterator[torch.Tensor | torch.nn.Module]:
    """Tensors and modules in an object, its attributes and containers; not what modules and functions hold."""
    return (one for one, _ in _walk([value]) if issubclass(type(one), torch.Tensor | torch.nn.Module))


@contextmanager
def same_state(root: Any) -> Iterator[None]:
    """Give an object back, at the end, what it holds now.

    What a module and its children hold themselves, and in lists and dictionaries of theirs, comes back whatever it is.
    Deeper, in containers and attributes at any depth, a place comes back where the fakes of a count are in it or the
    tensors it had are not: what else a program shares with others goes on meanwhile. Gradients come back, too. Not what
    functions, callable objects and modules that are no children hold in turn, nor what is in an object of the standard
    library, or deeper in a container of more than `_MOST`.

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
    """What puts back the containers, slots and gradients a root leads to."""
    modules = list(_children(root)) if isinstance(root, torch.nn.Module) else []
    roots: list[dict[str, Any] | None] = [vars(module) for module in modules] or [_attributes(root)]
    own = {id(one) for one in roots}
    own |= {id(value) for one in roots if one for value in one.values() if type(value) in (dict, list)}
    steps: list[Callable[[], None]] = [
        partial(_fill_slot, slot, module, _in_slot(slot, module))
        for module in modules
        for slot in _slots_of(type(module))
    ]
    for one, places in _walk(roots, own):
        if places.container is not None:
            # Most containers are those of modules, and empty: for each there is one tuple.
            before = tuple(_CONTAINERS[places.container][0](one))
            steps.append(partial(_refill, places.container, one, before, always=id(one) in own))
        if places.slots:
            steps += [partial(_fill_slot, slot, one, _in_slot(slot, one)) for slot in places.slots]
        if issubclass(type(one), torch.Tensor):
            with torch._C.DisableTorchFunction():
                if one.requires_grad and one.is_leaf:
                    steps.append(partial(_give_gradient, one, one.grad))
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


def _walk(roots: list[Any], own: Collection[int] | None = None) -> Iterator[tuple[Any, _Places]]:
    """Everything in the roots, nearest first and each once, themselves included.

    Where a module's own containers are named, by their identities, containers of more than `_MOST` are passed over,
    or, where they are among these, not looked into.
    """
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
        if own is not None and places.parts is not None and len(one) > _MOST:
            if id(one) in own:
                yield one, places
            continue
        yield one, places
        if places.parts is not None:
            waiting += places.parts(one)
        if places.attributes:
            waiting.append(_attributes(one))
        if places.slots:
            waiting += [_in_slot(slot, one) for slot in places.slots]


def _attributes(one: Any) -> dict[str, Any] | None:
    with suppress(Exception):  # none, or none that can be looked into, whatever a property of this name says
        attributes = vars(one)
        return attributes if type(attributes) is dict else None
    return None


def _in_slot(slot: Any, owner: Any) -> Any:
    try:
        return slot.__get__(owner)
    except AttributeError:
        return _EMPTY


def _refill(kind: type, container: Any, before: tuple[Any, ...], *, always: bool) -> None:
    """Put back what a container held; one that still does is left alone, since other threads may be at it."""
    contents, clear, fill = _CONTAINERS[kind]
    now = tuple(contents(container))
    if not (now or before) or _are_same(kind, now, before):
        return
    if always or _leads_to_fakes(now) or _holds_tensors(before):
        clear(container)
        fill(container, before)


def _are_same(kind: type, now: tuple[Any, ...], before: tuple[Any, ...]) -> bool:
    """Whether contents are the same objects in the same order: tensors that are equal may be different ones."""
    if len(now) != len(before):
        return False
    if issubclass(kind, dict):
        return all(map(operator.is_, chain.from_iterable(now), chain.from_iterable(before)))
    return all(map(operator.is_, now, before))


def _leads_to_fakes(value: Any) -> bool:
    return any(issubclass(type(one), FakeTensor) for one in held(value))


def _holds_tensors(contents: tuple[Any, ...]) -> bool:
    """Whether a container held tensors itself, as values or in tuples."""
    return any(issubclass(type(one), torch.Tensor) or (type(one) is tuple and _holds_tensors(one)) for one in contents)


def _fill_slot(slot: Any, owner: Any, before: Any) -> None:
    now = _in_slot(slot, owner)
    if now is before or not (_leads_to_fakes(now) or _holds_tensors((before,))):
        return
    if before is not _EMPTY:
        slot.__set__(owner, before)
    elif now is not _EMPTY:
        slot.__delete__(owner)


def _give_gradient(tensor: torch.Tensor, before: torch.Tensor | None) -> None:
    with torch._C.DisableTorchFunction():
        if tensor.grad is not before:
            tensor.grad = before
