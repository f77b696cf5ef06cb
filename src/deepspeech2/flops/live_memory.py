"""LiveMemory: follows which tensors of a counted program are alive, from the life times of its fake tensors."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from deepspeech2.flops.memory import Memory


@dataclass
class LiveMemory:
    """Bytes of live storages. Fakes take no memory, but are made and dropped as the real tensors would be."""

    live: int = 0
    live_gradients: int = 0
    suspended: bool = False
    kept: int = 0
    _peak: tuple[int, int, str, str, str] = (0, 0, "forward", "", "")
    _given: dict[str, int] = field(default_factory=dict)
    # Storages by address: what is given (held, so that the address stays taken), and what the program made.
    _known: dict[int, Any] = field(default_factory=dict)
    _sizes: dict[int, int] = field(default_factory=dict)
    _gradients: set[int] = field(default_factory=set)

    def give(self, kind: str, tensors: Iterable[Any]) -> None:
        """Tensors that exist before the program runs: `parameters`, `buffers` or `inputs`."""
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and _has_storage(tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._known:
                    self._known[storage._cdata] = storage
                    self._given[kind] = self._given.get(kind, 0) + storage.nbytes()

    def borrowed(self, tensors: Iterable[torch.Tensor]) -> None:
        """Arguments of an operator: what nobody made was there before, held by the program elsewhere."""
        with torch._C.DisableTorchFunction():
            for tensor in tensors:
                if _has_storage(tensor) and tensor.untyped_storage()._cdata not in self._known:
                    self.give("buffers", (tensor,))

    def made(self, tensors: Iterable[torch.Tensor], operator: str, place: Callable[[], tuple[str, str]]) -> None:
        """Results of an operator; those that share memory with something known take none.

        Args:
            tensors: the results.
            operator: what made them.
            place: the phase and the module that is running.
        """
        if self.suspended:
            return
        with torch._C.DisableTorchFunction():
            for tensor in filter(_has_storage, tensors):
                storage = tensor.untyped_storage()
                address = storage._cdata
                if address in self._known:
                    continue
                size = storage.nbytes()
                self._known[address] = weakref.ref(storage, partial(self._release, address))
                self._sizes[address] = size
                self.live += size
        if self.live > self._peak[0]:
            self._peak = (self.live, self.live_gradients, *place(), operator)

    def _release(self, address: int, _: Any) -> None:
        self._known.pop(address, None)
        size = self._sizes.pop(address, 0)
        self.live -= size
        if address in self._gradients:
            self._gradients.discard(address)
            self.live_gradients -= size

    @contextmanager
    def suspend(self) -> Iterator[None]:
        """Inside is one kernel, spelled out: what it makes on the way is its workspace."""
        before, self.suspended = self.suspended, True
        try:
            yield
        finally:
            self.suspended = before

    # Training ------------------------------------------------------------------------------------------------

    def watch_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        """Know the gradients of parameters when they are complete."""
        for parameter in parameters:
            if parameter.requires_grad and parameter.is_leaf:
                parameter.register_post_accumulate_grad_hook(self._complete)

    def _complete(self, parameter: torch.Tensor) -> None:
        if parameter.grad is None or not _has_storage(parameter.grad):
            return
        with torch._C.DisableTorchFunction():
            address = parameter.grad.untyped_storage()._cdata
        if address in self._sizes and address not in self._gradients:
            self._gradients.add(address)
            self.live_gradients += self._sizes[address]

    def forward_ends(self) -> None:
        """What is alive now is the result and what the backward pass needs."""
        self.kept = self.live

    def result(self) -> Memory:
        """What was found; from here on nothing is followed."""
        peak, gradients, phase, layer, operator = self._peak
        found = Memory(
            parameters=self._given.get("parameters", 0),
            buffers=self._given.get("buffers", 0),
            inputs=self._given.get("inputs", 0),
            peak=peak,
            peak_gradients=gradients,
            peak_phase=phase,
            peak_layer=layer,
            peak_operator=operator,
            kept=self.kept,
            gradients=self.live_gradients,
        )
        self._known.clear()
        return found


def _has_storage(tensor: torch.Tensor) -> bool:
    """Whether a tensor is one block of memory, as a sparse one is not."""
    return tensor.layout == torch.strided
