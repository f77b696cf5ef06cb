"""Operators that call programs: scan, map, while_loop, cond, and the wrappers that exported graphs put around regions.

A loop's body is counted once and charged for every iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from deepspeech2.flops.branches import cond, truth
from deepspeech2.flops.flexible_attention import flex_attention
from deepspeech2.flops.known_values import known_value
from deepspeech2.flops.recorder import Recorder

Handler: TypeAlias = Callable[..., Any]

_MAX_ITERATIONS = 1_000_000


def _list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _scan(recorder: Recorder, body: Any, init: Any, xs: Any, additional: Any = (), **_: Any) -> Any:
    steps = int(xs[0].shape[0])
    with recorder.silence():
        first = [x.select(0, 0) for x in xs]
    with recorder.repeated(steps):
        results = _list(body(*init, *first, *additional))
    carried, each = results[: len(init)], results[len(init) :]
    with recorder.silence():
        return [*carried, *[y.new_empty((steps, *y.shape)) for y in each]]


def _map(recorder: Recorder, body: Any, xs: Any, additional: Any = (), **_: Any) -> Any:
    return _scan(recorder, body, (), xs, additional)


def _while_loop(recorder: Recorder, condition: Any, body: Any, carried: Any, additional: Any = (), **_: Any) -> Any:
    for _iteration in range(_MAX_ITERATIONS):
        goes_on = condition(*carried, *additional)
        value = known_value(goes_on) if isinstance(goes_on, torch.Tensor) else torch.tensor(bool(goes_on))
        if value is None:
            recorder.record_unknown("while_loop", "how often it runs depends on values; no iteration is counted")
            return tuple(carried)
        if not truth(value):
            return tuple(carried)
        carried = _list(body(*carried, *additional))
    recorder.record_unknown("while_loop", f"it runs more than {_MAX_ITERATIONS} times; the rest is not counted")
    return tuple(carried)


def _wrapped(position: int) -> Handler:
    """A wrapper around a region: the program is its argument at `position`, the operands follow."""

    def handler(recorder: Recorder, *args: Any, **kwargs: Any) -> Any:
        options = {name: value for name, value in kwargs.items() if isinstance(value, torch.Tensor)}
        return args[position](*args[position + 1 :], **options)

    return handler


HIGHER_ORDER: dict[str, Handler] = {
    "scan": _scan,
    "map_impl": _map,
    "while_loop": _while_loop,
    "cond": cond,
    "flex_attention": flex_attention,
    "wrap": _wrapped(0),
    "wrap_with_set_grad_enabled": _wrapped(1),
    "wrap_with_autocast": _wrapped(4),
    "tag_activation_checkpoint": _wrapped(0),
    "wrap_activation_checkpoint": _wrapped(0),
    "invoke_subgraph": lambda recorder, body, _identifier, *operands: body(*operands),
}
