"""The modules a program runs: what they are called, also those that are no part of it, and what these get back."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count as numbers
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

from deepspeech2.flops.held import same_state


class MetModules:
    """Names of modules: their paths in the program, or the class of one that is no part of it, and paths below it.

    Classes are numbered where a second module of one runs.
    A name is free again when its module is gone, so that layers made anew in every step share a row.
    """

    def __init__(self, program: Any, keep: ExitStack) -> None:
        """Args: what is counted; what ends with the count, when modules met on the way get back what they held."""
        self._keep = keep
        self._names: dict[int, tuple[weakref.ref[torch.nn.Module], str]] = {}
        self._holders: dict[str, weakref.ref[torch.nn.Module]] = {}
        self._met: dict[str, weakref.ref[torch.nn.Module]] = {}
        self._program = program if isinstance(program, torch.nn.Module) else None
        # The module a method belongs to does not run itself; its parts have their paths in it.
        owner = program.__self__ if inspect.ismethod(program) else program
        if isinstance(owner, torch.nn.Module):
            self._learn(owner, "")
        if self._program is None:
            keep.enter_context(same_state(owner))

    def name(self, module: torch.nn.Module) -> str:
        """What a module that begins to run is called."""
        known = self._known(module)
        outside = known is None
        if known is None:
            known = self._free_name(type(module).__name__)
            self._learn(module, known)
            if not any(isinstance(tensor, FakeTensor) for tensor in module.parameters()):
                # One that was there before, not made by the program.
                self._keep.enter_context(same_state(module))
        if outside or self._program is None:
            self._met[known] = weakref.ref(module)
        return known

    def parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Parameters with their paths, of the program and of modules that ran and are still there."""
        if self._program is not None:
            yield from self._program.named_parameters()
        for name, reference in self._met.items():
            module = reference()
            if module is not None:
                yield from module.named_parameters(prefix=name)

    def _known(self, module: torch.nn.Module) -> str | None:
        reference, name = self._names.get(id(module), (None, ""))
        return name if reference is not None and reference() is module else None

    def _learn(self, module: torch.nn.Module, name: str) -> None:
        for path, child in module.named_modules(prefix=name):
            if self._known(child) is None:
                self._holders[path] = weakref.ref(child)
                self._names[id(child)] = (self._holders[path], path)

    def _free_name(self, wanted: str) -> str:
        for number in numbers(1):
            name = wanted if number == 1 else f"{wanted}_{number}"
            reference = self._holders.get(name)
            if reference is None or reference() is None:
                return name
        raise AssertionError
