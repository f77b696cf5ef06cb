"""The bytes a call moves: operators that go by position read and write the places they go to, others everything."""

from __future__ import annotations

from deepspeech2.flops.operations import Number
from deepspeech2.flops.operators.accumulating import written_places
from deepspeech2.flops.registry import Call, TensorSpec

# What is looked up -> the operators that read as much of it as they return.
_GATHERS = {
    **dict.fromkeys(("index", "_unsafe_index", "index_select", "gather", "take", "masked_select"), "self"),
    **dict.fromkeys(("embedding", "_embedding_bag", "_embedding_bag_forward_only"), "weight"),
}
_SCATTERS = frozenset({"index_put", "_index_put_impl", "put", "scatter", "index_copy"})
_REDUCING = frozenset({"scatter_add", "scatter_reduce", "index_add", "index_reduce"})
_OVERWRITING = frozenset(["copy", "fill", "zero", "uniform", "normal", "bernoulli", "random", "exponential"])


def traffic(call: Call) -> tuple[Number, Number]:
    """Bytes read and bytes written, without a cache: arguments come from memory and results go there.

    A look-up reads the rows it returns, however large the table; an operator that writes by position in place writes
    these places, and reads them where it adds to them; what is overwritten is not read.
    """
    name = call.operator.partition("::")[2]
    read = sum(tensor.bytes for tensor in call.tensors)
    written = sum(tensor.bytes for tensor in call.outputs)
    source = call.get(_GATHERS.get(name, ""))
    if isinstance(source, TensorSpec):
        return read - source.bytes + _part(source, _looked_up(call, name)), written
    target, base = call.get("self"), name.removesuffix("_")
    if base == name or not isinstance(target, TensorSpec):
        return read, written
    if base in _OVERWRITING:
        return read - target.bytes, written
    if base in _SCATTERS | _REDUCING:
        places = written_places(call, base)
        if places is not None:
            touched = _part(target, places)
            adds = base in _REDUCING or call.get("accumulate") or call.get("reduce") is not None
            return read - target.bytes + (touched if adds else 0), touched
    return read, written


def _looked_up(call: Call, name: str) -> Number:
    """Elements of the source that are read."""
    bag = name.startswith("_embedding_bag")
    return call["indices"].elements * call["weight"].last if bag else call.output.elements


def _part(tensor: TensorSpec, elements: Number) -> Number:
    """Bytes of some elements of a tensor, which has no more than it has."""
    wanted = elements * tensor.dtype.itemsize
    held = tensor.bytes
    return min(wanted, held) if isinstance(wanted, int) and isinstance(held, int) else wanted
