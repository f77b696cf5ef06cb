"""Training by several processes: who they are, what they tell each other, batch norm over all of them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from deepspeech2.errors import OptionError
from deepspeech2.speech.network import BatchNorm, ImageBatchNorm, SequenceBatchNorm

PATIENCE = timedelta(hours=12)
"""How long a process waits for the others: the first may be taking the features of a large corpus meanwhile."""


@dataclass(frozen=True, slots=True)
class World:
    """The processes of one training.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        local_rank: Number of this process on its machine, from 0.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and shows the progress."""
        return self.rank == 0

    @property
    def first_here(self) -> bool:
        """Whether this process looks after the disk of its machine: checks the data, makes spectrograms."""
        return self.local_rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Each value summed over all processes, in float64."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(tensor)
        return [float(value) for value in tensor]

    def highest(self, value: int) -> int:
        """The largest of all processes' values."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.int64)
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
        return int(tensor)

    def told(self, values: list[float]) -> list[float]:
        """The values of the leading process, in float64; every process gives as many."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        distributed.broadcast(tensor, 0)
        return [float(value) for value in tensor]

    def gathered(self, text: str) -> list[str]:
        """What every process says, in the order of their ranks."""
        if self.size == 1:
            return [text]
        said = text.encode("utf-8", "surrogatepass")
        lengths = [0.0] * self.size
        lengths[self.rank] = float(len(said))
        lengths = self.sum(lengths)
        # Tensors of one length, which that exchange needs.
        padded = bytearray(said.ljust(int(max(lengths)) + 1))
        heard = [torch.empty(len(padded), dtype=torch.uint8) for _ in range(self.size)]
        distributed.all_gather(heard, torch.frombuffer(padded, dtype=torch.uint8))
        return [
            tensor.numpy().tobytes()[: int(length)].decode("utf-8", "surrogatepass")
            for tensor, length in zip(heard, lengths, strict=True)
        ]

    @contextmanager
    def file_of_the_leader(self, path: Path) -> Iterator[Path]:
        """Where this process can read a file that the leading process has on its disk, which may be another's.

        The path itself on the leading process, whether it exists or not; a copy that goes with the block on the others.
        """
        if self.size == 1:
            yield path
            return
        content = path.read_bytes() if self.leads and path.is_file() else b""
        (size,) = self.told([float(len(content))])
        tensor = (
            torch.frombuffer(bytearray(content), dtype=torch.uint8)
            if content
            else torch.empty(int(size), dtype=torch.uint8)
        )
        if size:
            distributed.broadcast(tensor, 0)
        with TemporaryDirectory() as folder:
            copy = Path(folder) / path.name
            if size and not self.leads:
                copy.write_bytes(tensor.numpy().tobytes())
            yield path if self.leads else copy

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined_world() -> Iterator[World]:
    """Meet the other processes that ``torchrun`` started, and say goodbye when the block ends; alone, a world of one.

    Uses gloo on CPUs and nccl where CUDA is available.

    Raises:
        OptionError: The variables ``torchrun`` sets are incomplete.
    """
    size = os.environ.get("WORLD_SIZE")
    if size is None or size == "1":
        yield World()
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise OptionError(f"WORLD_SIZE is {size}, but {', '.join(missing)} not set; start with torchrun")
    # This module's functions have the process group as a default argument, taken when it is imported. Imported later,
    # which DistributedDataParallel would do, it would keep the group, and gloo's threads, beyond the end of the block:
    # one that then lets go of a tensor while the interpreter ends aborts the process.
    importlib.import_module("torch.distributed.nn.functional")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        rank = distributed.get_rank()
        yield World(rank, distributed.get_world_size(), int(os.environ.get("LOCAL_RANK", rank)))
    finally:
        distributed.destroy_process_group()


@contextmanager
def gradients_exchanged(model: nn.Module, world: World) -> Iterator[nn.Module]:
    """The module to call while the block lasts: with several processes one that adds up their gradients."""
    if world.size == 1:
        yield model
        return
    # Gradients of convolutions come channels last; those that are exchanged lie as the weights do.
    hooks = [weight.register_hook(_in_plain_layout) for weight in model.parameters() if weight.dim() == 4]
    try:
        yield DistributedDataParallel(model, forward_sync_buffers=False)
    finally:
        for hook in hooks:
            hook.remove()


def _in_plain_layout(gradient: Tensor) -> Tensor:
    return gradient.clone(memory_format=torch.contiguous_format)


def synchronize_batch_norm(module: nn.Module) -> None:
    """Replace every batch norm inside a module by one whose statistics are taken over all processes.

    Parameters and running statistics stay the same tensors under the same names.
    """
    for name, child in module.named_children():
        if isinstance(child, (ImageBatchNorm, SequenceBatchNorm)):
            kind = SynchronizedImageNorm if isinstance(child, ImageBatchNorm) else SynchronizedSequenceNorm
            replacement = kind(child.weight.numel())
            replacement.weight, replacement.bias = child.weight, child.bias
            replacement.running_mean, replacement.running_var = child.running_mean, child.running_var
            replacement.train(child.training)
            setattr(module, name, replacement)
        else:
            synchronize_batch_norm(child)


class SynchronizedImageNorm(ImageBatchNorm):
    """Batch norm of (batch, channels, freq, time) with the statistics of all processes' batches together."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, in training with the statistics of the whole batch."""
        if not self.training:
            return super().forward(x)
        x = x.float() if x.dtype == torch.bfloat16 else x  # sums of so many values need more digits
        count = x.new_full((1,), x.shape[0] * x.shape[2] * x.shape[3])
        total = _summed(torch.cat([x.sum((0, 2, 3)), count]))
        mean = total[:-1] / total[-1]
        centred = x - mean[:, None, None]
        variance = _summed(centred.square().sum((0, 2, 3))) / total[-1]
        return _scaled(self, centred, mean, variance, (-1, 1, 1))


class SynchronizedSequenceNorm(SequenceBatchNorm):
    """Batch norm of (batch, time, features) over the valid frames of all processes."""

    def forward(self, x: Tensor, valid: Tensor | None) -> Tensor:
        """Normalise, in training with the statistics of the whole batch."""
        if not self.training:
            return super().forward(x, valid)
        if x.dtype != self.weight.dtype:
            x = x.to(self.weight.dtype)
        weights = x.new_ones(x.shape[:2]) if valid is None else valid.to(x.dtype)
        weights = weights.unsqueeze(2)
        total = _summed(torch.cat([(x * weights).sum((0, 1)), weights.sum().view(1)]))
        mean = total[:-1] / total[-1]
        centred = x - mean
        variance = _summed((centred.square() * weights).sum((0, 1))) / total[-1]
        return _scaled(self, centred, mean, variance, (-1,))


class _Sum(torch.autograd.Function):
    """The sum over all processes. Every process's loss depends on it, so that its gradient is their sum, too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


def _summed(values: Tensor) -> Tensor:
    result: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return result


def _scaled(norm: BatchNorm, centred: Tensor, mean: Tensor, variance: Tensor, shape: tuple[int, ...]) -> Tensor:
    norm._update(mean.detach(), variance.detach())
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return torch.addcmul(norm.bias.view(shape), centred, scale.view(shape))
