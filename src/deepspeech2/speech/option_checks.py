"""Options held to what they may be: one line names the option, what is expected of it and what was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from deepspeech2.errors import OptionError

ADDED_LATER = {"added_later": True}
"""Of a field that changes nothing at its default: trainings begun before there was one go on."""


def check(what: str, name: str, expectation: str, value: Any, *, holds: bool) -> None:
    """Refuse a value that does not hold.

    Raises:
        OptionError: ``what: expected name expectation, found value``.
    """
    if not holds:
        raise OptionError(f"{what}: expected {name} {expectation}, found {value!r}")


def check_whole(what: str, least: int = 0, below: int | None = None, **values: Any) -> None:
    """Refuse values that are no whole numbers in ``[least, below)``; True is none.

    Raises:
        OptionError: Naming the first.
    """
    bound = f"of at least {least}" + (f" and below {below}" if below is not None else "")
    for name, value in values.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        holds = whole and value >= least and (below is None or value < below)
        check(what, name, f"as a whole number {bound}", value, holds=holds)


def check_number(what: str, expectation: str, least: float, most: float, **values: Any) -> None:
    """Refuse values that are no finite numbers from `least` to `most`, both allowed; True is none.

    A bound that is not allowed itself is given as the number next to it (`math.nextafter`).

    Raises:
        OptionError: Naming the first, with the bounds in the words of `expectation`.
    """
    for name, value in values.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        holds = number and abs(value) < math.inf and least <= value <= most
        check(what, name, f"as a number {expectation}", value, holds=holds)


def check_positive(what: str, **values: Any) -> None:
    """Refuse values that are no finite numbers above 0.

    Raises:
        OptionError: Naming the first.
    """
    check_number(what, "above 0", math.ulp(0.0), math.inf, **values)


def check_choice(what: str, choices: Sequence[str], **values: Any) -> None:
    """Refuse values that are none of the choices.

    Raises:
        OptionError: Naming the first, and the choices.
    """
    for name, value in values.items():
        holds = isinstance(value, str) and value in choices
        check(what, name, f"of {', '.join(choices[:-1])} or {choices[-1]}", value, holds=holds)


def check_flag(what: str, **values: Any) -> None:
    """Refuse values that are neither True nor False.

    Raises:
        OptionError: Naming the first.
    """
    for name, value in values.items():
        check(what, name, "of True or False", value, holds=isinstance(value, bool))


def check_kind(what: str, kind: type, **values: Any) -> None:
    """Refuse values of another class.

    Raises:
        OptionError: Naming the first, and the class.
    """
    for name, value in values.items():
        check(what, name, f"as {kind.__name__}", value, holds=isinstance(value, kind))


def check_range(what: str, lowest: Any, highest: Any) -> None:
    """Refuse two ends of a range that are no finite numbers, or in the wrong order.

    Raises:
        OptionError: Naming what is wrong.
    """
    check_number(what, "that is finite", -math.inf, math.inf, lowest=lowest, highest=highest)
    if lowest > highest:
        raise OptionError(f"{what}: expected the lowest value not above the highest, found {lowest} and {highest}")
