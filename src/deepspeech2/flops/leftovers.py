"""Leftovers: fake tensors that outlive their count, in caches of functools that the program filled meanwhile."""

from __future__ import annotations

import functools
import gc
import threading
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

from deepspeech2.flops.held import MACHINERY, held

# How many fakes are noted before those that are gone are forgotten.
_FEW = 4096


class Leftovers:
    """Notes the fake tensors of a count, and lets go of those that the program lets go of."""

    def __init__(self) -> None:
        self._made: list[weakref.ref[FakeTensor]] = []
        self._room = _FEW

    def note(self, results: Any) -> None:
        """Results of an operator."""
        for result in results if isinstance(results, tuple | list) else (results,):
            if isinstance(result, FakeTensor):
                self._made.append(weakref.ref(result))
        if len(self._made) > self._room:
            self._made = [made for made in self._made if made() is not None]
            self._room = 2 * len(self._made) + _FEW

    def wait(self) -> None:
        """The count is over; its fakes are gone, but for leftovers, when what called it, or its error, is done with."""
        _waiting().append(self)

    def empty_caches(self) -> None:
        """Empty the caches of functools that hold a fake; of other places where the program kept one, none is searched.

        A cache gives up single entries to nobody: real ones beside the fakes are computed anew when they are asked for.
        """
        alive = {id(fake) for made in self._made if (fake := made()) is not None}
        if not alive:
            return
        for cache in [one for one in gc.get_objects() if type(one) is functools._lru_cache_wrapper]:
            if not str(cache.__module__).startswith(MACHINERY) and _holds(gc.get_referents(cache), alive):
                cache.cache_clear()


_of_thread = threading.local()


def _waiting() -> list[Leftovers]:
    """Of the counts of this thread that are over, those whose leftovers were not looked for yet."""
    if not hasattr(_of_thread, "waiting"):
        _of_thread.waiting = []
    waiting: list[Leftovers] = _of_thread.waiting
    return waiting


def empty_caches() -> None:
    """Empty the caches that hold fakes of counts that are over: before another begins, and before their caller goes on.

    All of them are looked for in the whole memory of the process, which would cost more than most counts if it was
    done while the frames of a count that failed, as many of a formula do, still hold fakes of their own.
    """
    waiting = _waiting()
    while waiting:
        waiting.pop().empty_caches()


@contextmanager
def caches_emptied() -> Iterator[None]:
    """Empty the caches that hold fakes when the block, or the function this decorates, is over."""
    try:
        yield
    finally:
        empty_caches()


def _holds(entries: list[Any], wanted: Collection[int]) -> bool:
    """Whether what a cache refers to, its keys and results, leads to one of the tensors."""
    with suppress(Exception):  # entries of others, which may be anything: what cannot be looked into is not ours
        for one in held(entries):
            tensors = (*one.parameters(), *one.buffers()) if isinstance(one, torch.nn.Module) else (one,)
            if any(id(tensor) in wanted for tensor in tensors):
                return True
    return False
