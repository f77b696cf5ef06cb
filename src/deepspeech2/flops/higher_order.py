"""Operators that call programs: scan, map, while_loop, cond, and the wrappers that exported graphs put around regions.

A scan's body is counted once and charged for every step, unless values it is given or a gradient make steps differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from deepspeech2.flops.branches import cond, truth
from deepspeech2.flops.flexible_attention import flex_attention
from deepspeech2.flops.known_values import known_value
from deepspeech2.flops.recorder import Recorder

Handler: TypeAlias = Callable[..., Any]

_MAX_ITERATIONS = 1_000_000
# Of a scan whose steps are gone through one by one.
_MAX_STEPS = 2048


def _list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list | tuple) else [values]


def _scan(recorder: Recorder, body: Any, init: Any, xs: Any, additional: Any = (), **_: Any) -> Any:
    structures: list[Any] = []

    def flat_body(*values: Any) -> list[Any]:
        leaves, structure = tree_flatten(body(*values))
        structures.append(structure)
        return leaves

    results = _flat_scan(recorder, flat_body, init, xs, additional)
    return tree_unflatten(results, structures[0])


def _flat_scan(recorder: Recorder, body: Callable[..., list[Any]], init: Any, xs: Any, additional: Any) -> list[Any]:
    steps = int(xs[0].shape[0])
    known = any(_has_value(value) for value in (*init, *xs))
    if steps <= _MAX_STEPS and (known or torch.is_grad_enabled()):
        # Steps may cost differently, and a gradient goes from each to the one before.
        return _every_step(recorder, body, init, xs, additional)
    with recorder.silence():
        first = [x.new_empty(x.shape[1:]) for x in xs]  # without values: those of one step are not those of others
        carried = [_without_value(value) for value in init]
    with recorder.repeated(steps):
        results = body(*carried, *first, *additional)
    if any(isinstance(value, torch.Tensor) and value.requires_grad for value in results):
        recorder.record_unknown("scan", f"it has more than {_MAX_STEPS} steps, whose gradient is not counted")
    carried, each = results[: len(init)], results[len(init) :]
    with recorder.silence():
        return [*carried, *[y.new_empty((steps, *y.shape)) for y in each]]


def _every_step(recorder: Recorder, body: Any, init: Any, xs: Any, additional: Any) -> list[Any]:
    carried, each = list(init), []
    with recorder.silence():
        # Taken apart at once, so that the gradients of all steps are put together and not added up.
        rows = zip(*(x.unbind(0) if x.is_floating_point() else _selected(x) for x in xs), strict=True)
    for row in rows:
        results = body(*carried, *row, *additional)
        carried = results[: len(init)]
        each.append(results[len(init) :])
    with recorder.silence():
        return [*carried, *[torch.stack(list(parts)) for parts in zip(*each, strict=True)]]


def _selected(x: torch.Tensor) -> list[torch.Tensor]:
    return [x.select(0, step) for step in range(int(x.shape[0]))]


def _has_value(value: Any) -> bool:
    """Whether it is a counter, an index or a mask that the trace knows: floats decide no cost."""
    return isinstance(value, torch.Tensor) and not value.is_floating_point() and known_value(value) is not None


def _without_value(value: Any) -> Any:
    return value.new_empty(value.shape) if _has_value(value) else value


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

# Those that have a gradient: it is lost below the level of functions, where operators are dispatched.
WITH_GRADIENT = {
    getattr(torch.ops.higher_order, name): HIGHER_ORDER[name] for name in ("cond", "scan", "map_impl", "while_loop")
}
