"""This project's counter."""

from typing import Any

from torch import nn

from deepspeech2 import count


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """Multiply-accumulates of products."""
    return int(count(module, inputs).macs)
