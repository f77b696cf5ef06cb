"""The transforms of torch.func around a call, and what of it can be counted whole inside of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch._functorch.pyfunctorch import (
    GradInterpreter,
    JvpInterpreter,
    VmapInterpreter,
    retrieve_all_functorch_interpreters,
    retrieve_current_functorch_interpreter,
)
from torch.autograd import forward_ad
from torch.utils._pytree import tree_flatten, tree_map_only

from deepspeech2.flops.fakes import FakeWorld
from deepspeech2.flops.recorder import Recorder

_NAMES = ("query", "key", "value", "attn_mask")
_MORE = ("dropout_p", "is_causal")
_ATTENTION = (torch.nn.functional.scaled_dot_product_attention, torch._C._nn.scaled_dot_product_attention)


def is_transformed() -> bool:
    """Whether a call is inside a transform, or of dual numbers.

    Under a transform (vmap, grad) a function sees one sample; the dispatcher sees them all. Of dual numbers it sees the
    numbers, the dispatcher their derivatives too.
    """
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def counted_below(
    world: FakeWorld, recorder: Recorder, rule: Callable[..., Any], function: Any, args: Any, kwargs: Any
) -> Any:
    """A call under transforms: by its rule where its derivative is not differentiated again, else as torch does it."""
    dual = _is_dual_once()
    if not ((dual and function in _ATTENTION) or _is_gradient_once()) or _is_differentiated_around((args, kwargs)):
        return function(*args, **kwargs)
    live = recorder.live
    with recorder.silence(), nullcontext() if live is None else live.suspend():
        args, kwargs = world.fake_tree((args, kwargs))
        if dual or any(isinstance(one, VmapInterpreter) for one in retrieve_all_functorch_interpreters()):
            # Of dual numbers and of many samples torch takes less, and says so in its own words.
            function(*args, **kwargs)
    # Integers have no derivative, and what is known of their values is noted below.
    args, kwargs = tree_map_only(torch.Tensor, _without_derivative, (args, kwargs))
    return rule(recorder, world.read_size, args, kwargs)


def _is_gradient_once() -> bool:
    """Whether the innermost transform is a gradient, and the only one beside vmaps."""
    return forward_ad._current_level < 0 and _is_innermost(GradInterpreter)


def _is_dual_once() -> bool:
    """Whether a call is of dual numbers, and no transform around it is another but a vmap."""
    if torch._C._functorch.peek_interpreter_stack() is None:
        return forward_ad._current_level == 0
    return _is_innermost(JvpInterpreter)


def _is_innermost(kind: type) -> bool:
    interpreters = sorted(retrieve_all_functorch_interpreters(), key=lambda one: one.level())
    return isinstance(interpreters[-1], kind) and all(isinstance(one, VmapInterpreter) for one in interpreters[:-1])


def _is_differentiated_around(arguments: Any) -> bool:
    """Whether autograd, around all transforms, follows what is computed from these tensors."""
    innermost = None
    if torch._C._functorch.peek_interpreter_stack() is not None:
        innermost = retrieve_current_functorch_interpreter()
    records = innermost.prev_grad_mode() if isinstance(innermost, GradInterpreter) else torch.is_grad_enabled()
    tensors = [value for value in tree_flatten(arguments)[0] if isinstance(value, torch.Tensor)]
    return records and any(below_gradients(tensor).requires_grad for tensor in tensors)


def _without_derivative(tensor: torch.Tensor) -> torch.Tensor:
    differentiable = tensor.is_floating_point() or tensor.is_complex()
    return tensor if differentiable else below_gradients(tensor)


def below_gradients(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor of the same shape that derivatives of torch.func wrap, where what is known of its values is noted."""
    while torch._C._functorch.is_gradtrackingtensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def is_mapped_attention(function: Any) -> bool:
    """Whether a function is attention, called for one sample of a vmap, which is the innermost transform."""
    if torch._C._functorch.peek_interpreter_stack() is None or function not in _ATTENTION:
        return False
    return isinstance(retrieve_current_functorch_interpreter(), VmapInterpreter)


def of_all_samples(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call attention outside of the innermost vmap, with its samples as the first axis.

    Below, the kernel would be spelled out, every pair of a query and a key, though a mask forbids some.
    """
    options = {**dict(zip((*_NAMES, *_MORE), args, strict=False)), **kwargs}
    interpreter = retrieve_current_functorch_interpreter()
    level = interpreter.level()
    axes = max(options[name].dim() for name in _NAMES[:3])
    mapped = False
    with interpreter.lower():
        for name in _NAMES:
            tensor = options.get(name)
            if not isinstance(tensor, torch.Tensor) or not torch._C._functorch.is_batchedtensor(tensor):
                continue
            whole, axis = torch._C._functorch._unwrap_batched(tensor, level)
            if axis is None:
                continue
            mapped = True
            whole = whole.movedim(axis, 0)
            # Samples stand in front of all other axes, those this tensor leaves to broadcasting included.
            options[name] = whole[(slice(None), *[None] * (axes - whole.dim() + 1))]
        result = call(**options)
        return torch._C._functorch._add_batch_dim(result, 0, level) if mapped else result
