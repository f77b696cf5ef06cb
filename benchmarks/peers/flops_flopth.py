"""flopth, hooks on modules."""

import sys
import types
from typing import Any

from torch import nn

# It imports torchvision for a list of model names that only its command line uses.
if "torchvision" not in sys.modules:
    sys.modules["torchvision"] = types.ModuleType("torchvision")
    sys.modules["torchvision.models"] = types.ModuleType("torchvision.models")
    sys.modules["torchvision"].models = sys.modules["torchvision.models"]  # type: ignore[attr-defined]
from flopth import flopth


def macs(module: nn.Module, inputs: tuple[Any, ...]) -> float:
    """Its "flops" are multiply-accumulates."""
    return float(flopth(module, inputs=inputs, bare_number=True)[0])
