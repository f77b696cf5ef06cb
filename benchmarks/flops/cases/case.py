"""Case: one small program whose operations are derived by hand in its docstring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Program = tuple[Callable[..., Any], tuple[Any, ...]]
"""A module or function, and its positional example inputs."""


@dataclass(frozen=True)
class Case:
    """One micro-case.

    Attributes:
        name: what it exercises.
        group: family of operators, the name of its file.
        build: makes the program and its inputs anew.
        macs: multiply-accumulates inside products, by hand.
        kinds: where given, every kind of operation by hand; a kind that is absent is zero.
        modelled: the modelled part of the kinds (Fourier transforms, sorting).
        integer: operations on integers.
        padding: the part of `macs` that falls on padding, where the case is about it.
        derivation: the hand derivation, from the docstring.
    """

    name: str
    group: str
    build: Callable[[], Program]
    macs: int = 0
    kinds: Mapping[str, int] | None = None
    modelled: int = 0
    integer: int | None = None
    padding: int | None = None
    derivation: str = field(default="", repr=False)


CASES: list[Case] = []


def case(
    macs: int = 0,
    *,
    kinds: Mapping[str, int] | None = None,
    modelled: int = 0,
    integer: int | None = None,
    padding: int | None = None,
) -> Callable[[Callable[[], Program]], Callable[[], Program]]:
    """Add a function that builds a program to the table; its name is the case's, its docstring the derivation."""

    def add(build: Callable[[], Program]) -> Callable[[], Program]:
        group = build.__module__.rpartition(".")[2]
        derivation = " ".join((build.__doc__ or "").split())
        CASES.append(Case(build.__name__.strip("_"), group, build, macs, kinds, modelled, integer, padding, derivation))
        return build

    return add
