"""DeepSpeech2 in PyTorch, with every floating-point operation accounted for.

The public face: names are loaded at first use, so that importing the package costs nothing and the decoder
never pulls in torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepspeech2.errors import DeepSpeech2Error as DeepSpeech2Error

# Public name -> module that defines it. Nothing is defined here.
_HOMES = {
    "DeepSpeech2Error": "deepspeech2.errors",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'deepspeech2' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
