"""Where a network runs: the CPU, or a GPU that torch finds on this machine."""

from __future__ import annotations

import itertools
import os

import torch
from torch import nn

from deepspeech2.errors import OptionError


def choose_device(name: str | None = None) -> torch.device:
    """The device of that name.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1`` or another device of torch; None or ``auto`` for a CUDA device if torch
            finds one and the CPU if not. Without a number, a process that ``torchrun`` started takes that of its local
            rank.

    Raises:
        OptionError: torch does not know the name, or does not find such a device here.
    """
    if name in (None, "auto"):
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        try:
            device = torch.device(str(name))
        except RuntimeError:
            raise OptionError(f"expected a device such as auto, cpu or cuda:0, found {name!r}") from None
    if device.type == "cpu":
        return torch.device("cpu")
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    count = torch.accelerator.device_count() if found is not None and found.type == device.type else 0
    index = device.index if device.index is not None else int(os.environ.get("LOCAL_RANK", "0"))
    if index >= count:
        there = ", ".join(["cpu", *(f"{found.type}:{i}" for i in range(torch.accelerator.device_count()) if found)])
        raise OptionError(
            f"expected a device that torch {torch.__version__} finds here ({there}), found {device.type}:{index}"
        )
    return torch.device(device.type, index)


def use_device(device: torch.device) -> None:
    """Make a device the process's current one, which its collective operations take: for a program, not a library."""
    if device.type != "cpu":
        torch.accelerator.set_device_index(device)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are; the CPU for a module without any."""
    first = next(itertools.chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device
