"""How the kinds of operation add up to one headline number."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from deepspeech2.errors import OptionError
from deepspeech2.flops.operations import Number, OperationCount

CONVENTIONS: dict[str, Callable[[OperationCount], Number]] = {
    # Every floating-point operation of any kind counts one.
    "standard": lambda count: count.total,
    # Two per multiply-accumulate of a product and nothing else: what most papers mean by FLOPs.
    "gemm": lambda count: 2 * count.macs,
    # Multiply-accumulates of products.
    "mac": lambda count: count.macs,
    # The per-operator rules of the notebook this project grew out of; operators it did not know are 0.
    "notebook": lambda count: count.notebook,
}
UNITS = {"standard": "FLOP", "gemm": "FLOP", "mac": "MAC", "notebook": "FLOP"}


def headline(count: OperationCount, convention: str = "standard") -> Number:
    """The one number a convention makes of a count.

    Raises:
        OptionError: no convention has this name.
    """
    return CONVENTIONS[known_convention(convention)](count)


def known_convention(name: str) -> str:
    """The name itself, or an error that names the nearest convention.

    Raises:
        OptionError: no convention has this name.
    """
    if name not in CONVENTIONS:
        near = get_close_matches(name, CONVENTIONS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise OptionError(f"unknown convention {name!r}; expected one of {', '.join(CONVENTIONS)}.{hint}")
    return name
