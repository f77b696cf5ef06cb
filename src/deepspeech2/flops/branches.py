"""cond: one of two programs runs, and shapes do not tell which.

Branches that cost the same are counted as the program writes them. Of others, each kind of operation is the smaller
number of the two, forward and backward: a lower bound in every kind and in every convention, whichever branch runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from deepspeech2.flops.known_values import known_value
from deepspeech2.flops.operations import NOTHING, OperationCount, lower_bound, same, total_of
from deepspeech2.flops.recorder import Recorder
from deepspeech2.flops.whole import Plan, Whole

_Branch = Callable[..., Any]


def cond(recorder: Recorder, chosen: Any, if_true: _Branch, if_false: _Branch, operands: Any = (), **_: Any) -> Any:
    """Count the branch that runs where the trace knows it, else what both have in common.

    Args:
        recorder: where it is counted.
        chosen: the predicate, a tensor of one element or a truth value.
        if_true: the program where it holds.
        if_false: the program where it does not.
        operands: what both are given.
    """
    value = known_value(chosen) if isinstance(chosen, torch.Tensor) else torch.tensor(bool(chosen))
    if value is not None:
        return (if_true if truth(value) else if_false)(*operands)
    results, *costs, leaves = _measured(recorder, if_true, operands)
    _, *others, more = _measured(recorder, if_false, operands)
    forward, backward = zip(costs, others, strict=True)
    if same(*forward) and same(*backward):
        results = if_true(*operands)
        with recorder.silence():
            # Values the trace knows are of this branch.
            return tree_map_only(torch.Tensor, _of_either, results)
    recorder.record_unknown(
        "cond",
        f"its branches cost {_both(forward)} operations and {_both(forward, 'macs')} multiply-accumulates; of each "
        "kind the smaller number is counted",
    )
    flat, structure = tree_flatten(results)
    # Results of floats first: what the plan makes is of the type of its first tensor.
    tensors = sorted(
        (value.detach() for value in flat if isinstance(value, torch.Tensor)),
        key=lambda value: not value.is_floating_point(),
    )
    shapes = [value.shape for value in tensors if value.is_floating_point()]
    plan = Plan(recorder, recorder.read_size, "cond", lower_bound(*forward), lower_bound(*backward), shapes)
    given = list({id(leaf): leaf for leaf in (*leaves, *more)}.values())
    made: Any = ()
    if shapes:
        made = Whole.apply(plan, *tensors, *given)  # type: ignore[no-untyped-call]
    else:
        plan.record(plan.forward, operands, tensors)
    fresh = iter(made if isinstance(made, tuple) else (made,))
    return tree_unflatten([_fresh(value, fresh) for value in flat], structure)


def _fresh(value: Any, floats: Iterator[torch.Tensor]) -> Any:
    """A result that is of neither branch: the next of those made, or one of integers, whose values are not known."""
    if not isinstance(value, torch.Tensor):
        return value
    return next(floats) if value.is_floating_point() else value.new_empty(value.shape)


def _of_either(result: torch.Tensor) -> torch.Tensor:
    return result if known_value(result) is None else result.new_empty(result.shape)


def truth(value: torch.Tensor) -> bool:
    """The truth of a value the trace knows."""
    with _disable_current_modes():
        return bool(value)


def _both(counts: tuple[OperationCount, ...], name: str = "total") -> str:
    return " and ".join(str(getattr(count, name)) for count in counts)


def _measured(
    recorder: Recorder, branch: _Branch, operands: Sequence[Any]
) -> tuple[Any, OperationCount, OperationCount, list[torch.Tensor]]:
    """What a branch returns, costs forward and backward, and what receives a gradient; the tally does not know."""
    own = [_apart(value) for value in operands]
    begin = torch._C._autograd._get_sequence_nr()
    with recorder.measured() as forward:
        results = branch(*own)
    roots = [value for value in _differentiable(tree_flatten(results)[0]) if value.grad_fn is not None]
    if not roots:
        return results, total_of(forward), NOTHING, []
    weights = list(_weights(roots, begin, {id(value) for value in own}))
    with recorder.silence():
        seeds = [torch.empty_like(root) for root in roots]
    with recorder.measured() as backward:
        torch.autograd.grad(roots, [*_differentiable(own), *weights], seeds, allow_unused=True)
    return results, total_of(forward), total_of(backward), [*_differentiable(operands), *weights]


def _apart(value: Any) -> Any:
    """The same tensor as a leaf: what made it is not part of the branch."""
    return value.detach().requires_grad_(value.requires_grad) if isinstance(value, torch.Tensor) else value


def _differentiable(values: Sequence[Any]) -> list[torch.Tensor]:
    return [value for value in values if isinstance(value, torch.Tensor) and value.requires_grad]


def _weights(roots: Sequence[torch.Tensor], begin: int, known: set[int]) -> Iterator[torch.Tensor]:
    """The leaves that a graph reaches by nodes made since it began, other than those known."""
    waiting, seen = [root.grad_fn for root in roots], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen or node._sequence_nr() < begin:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            known.add(id(leaf))
            yield leaf
        waiting += [following for following, _ in node.next_functions]
