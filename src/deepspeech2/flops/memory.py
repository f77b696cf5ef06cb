"""Memory: the bytes of the tensors a program holds, and the most it holds at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of the tensors of one pass or training step, by the program's own life times.

    A tensor lives from the operator that makes it until the program (or autograd, which keeps tensors for the
    backward pass) lets go of it; views share the memory of what they look at, and an in-place operator takes none. Not
    in it: the workspace inside a kernel, rounding and fragmentation of an allocator, and what a framework holds itself.

    Attributes:
        parameters: the module's parameters, shared ones once.
        buffers: its buffers and other tensors it holds.
        inputs: the example inputs.
        peak: the most bytes alive at once of tensors the program made: activations, what is kept for the backward
            pass, gradients. Parameters, buffers, inputs and the optimiser's state are not in it.
        peak_gradients: the part of `peak` that is gradients of parameters, complete ones.
        peak_phase: `forward` or `backward`.
        peak_layer: the module that was running.
        peak_operator: the operator that made the tensor with which the peak was reached.
        kept: bytes of tensors made and still alive when the forward pass ended: results, and, in training, what the
            backward pass needs.
        gradients: gradients of parameters when the backward pass ended.
        optimiser: the optimiser's state (Adam: two values per parameter trained, SGD with momentum: one).
    """

    parameters: int = 0
    buffers: int = 0
    inputs: int = 0
    peak: int = 0
    peak_gradients: int = 0
    peak_phase: str = "forward"
    peak_layer: str = ""
    peak_operator: str = ""
    kept: int = 0
    gradients: int = 0
    optimiser: int = 0

    @property
    def total(self) -> int:
        """Everything at the peak: what was given, what the program made, the optimiser's state."""
        return self.parameters + self.buffers + self.inputs + self.optimiser + self.peak

    def to_dict(self) -> dict[str, Any]:
        """Every field by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Memory:
        """The inverse of `to_dict`.

        Raises:
            TypeError: a field is missing, unknown or of another type.
        """
        memory = cls(**document)
        for name, value in memory.to_dict().items():
            if type(value) is not type(getattr(cls(), name)):
                raise TypeError(f"{name} of a memory is {value!r}")
        return memory
