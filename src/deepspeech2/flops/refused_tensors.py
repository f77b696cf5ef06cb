"""Tensors that no fake can stand for: nested, masked, sparse, and of classes that run code of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils._pytree import tree_flatten

from deepspeech2.errors import InputError

NO_MASKED_TENSORS = (
    "expected dense tensors, found a masked one (torch.masked), whose operations depend on its mask; count the program "
    "on its data"
)
NO_NESTED_TENSORS = (
    "expected tensors of one shape each, found a nested one: its rows differ in length; count a padded tensor, or a "
    "packed sequence, which is counted at its true lengths"
)
NO_COMPRESSED_TENSORS = (
    "expected dense tensors, found a compressed sparse one, of which torch has no fake; make it by "
    "torch.sparse_coo_tensor"
)
NO_TENSORS_OF_A_CLASS = (
    "expected plain tensors, found one that the program turns into another class, which fakes cannot become; count the "
    "program without that class"
)
# Classes of torch that compute nothing: fakes themselves, and parameters without sizes.
_HARMLESS = ("torch._subclasses.", "torch.nn.parameter")


class RefusedTensorError(InputError):
    """A tensor no fake can stand for was met; where, the one who catches it knows."""


def why_refused(tensor: torch.Tensor) -> str:
    """Why no fake can stand for a tensor, or nothing."""
    kind = type(tensor)
    if kind.__name__ == "MaskedTensor":
        return NO_MASKED_TENSORS
    if tensor.is_nested:
        return NO_NESTED_TENSORS
    code = _own_code(kind)
    if code:
        return (
            f"expected plain tensors, found a {kind.__name__}, whose {code} may compute what a count would not see; "
            f"count with a plain tensor in its place (x.as_subclass(torch.Tensor) is one), and what {kind.__name__} "
            "computes on its own"
        )
    if tensor.layout == torch._mkldnn:  # type: ignore[attr-defined]
        return "expected plain tensors, found one that torch.utils.mkldnn has packed; count the module it was made from"
    if tensor.layout != torch.strided:
        return f"expected dense tensors, found one of layout {tensor.layout}: its operations depend on its values"
    return ""


def _own_code(kind: type[torch.Tensor]) -> str:
    """The method by which a class of tensors takes part in operations, where it has one of its own."""
    if kind.__module__.startswith(_HARMLESS):
        return ""
    if kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        return "__torch_dispatch__"
    harmless = (_written(torch.Tensor.__torch_function__), torch._C._disabled_torch_function_impl)
    own = _written(kind.__torch_function__) not in harmless
    return "__torch_function__" if own else ""


def _written(method: Any) -> Any:
    """The function behind a method of a class, which is bound anew wherever it is asked for."""
    return getattr(method, "__func__", method)


def refuse_tensors(program: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise InputError that names an input, or a tensor a module keeps, for which no fake can stand.

    What else a program holds or makes is refused where it is met.
    """
    for name, tensor in _named_tensors(program, args, kwargs):
        reason = why_refused(tensor)
        if reason:
            raise InputError(f"{reason}; it is {name}")


def _named_tensors(
    program: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, torch.Tensor]]:
    for place, value in (*enumerate(args), *kwargs.items()):
        yield from ((f"input {place}", one) for one in tree_flatten(value)[0] if isinstance(one, torch.Tensor))
    if not isinstance(program, torch.nn.Module):
        return
    for path, module in program.named_modules():
        for store in (vars(module).get("_parameters", {}), vars(module).get("_buffers", {}), vars(module)):
            for name, value in store.items():
                if name not in ("_parameters", "_buffers"):
                    yield from ((f"the module's {path}.{name}".replace("'s .", "'s "), one) for one in _within(value))


def _within(value: Any) -> list[torch.Tensor]:
    """A tensor, or those in a list or dictionary."""
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    return [one for one in values if isinstance(one, torch.Tensor)]
