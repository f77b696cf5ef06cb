"""Calls with a sparse tensor among arguments or results: what is known of them; everything else is unknown.

The formulas of this package are for dense tensors: of a sparse one they would count every zero. How many values a
sparse tensor holds is known of one that a program makes from indices and values, and of no result computed from it:
which of its values coincide, the values say.
"""

from __future__ import annotations

from deepspeech2.flops.formulas.products import sparse_product
from deepspeech2.flops.operations import NOTHING, Number, OperationCount
from deepspeech2.flops.registry import Call, Rule, TensorSpec, find_rule

NOT_DENSE = "no formula for sparse tensors"
_NOT_KNOWN = (
    "how many values a sparse tensor holds is known where it is made from indices and values, and here it is not"
)


def has_sparse(call: Call) -> bool:
    """Whether a call is given a sparse tensor, or returns one."""
    return any(tensor.is_sparse for tensor in (*call.tensors, *call.outputs))


def find_sparse_rule(operator: str) -> Rule | None:
    """The rule of an operator on sparse tensors, or None; one that was registered from outside knows what it is for."""
    registered = find_rule(operator)
    if registered is not None and not registered.__module__.startswith("deepspeech2.flops."):
        return registered
    return _RULES.get(operator.partition("::")[2])


def _free(_: Call) -> OperationCount:
    return NOTHING


def _held(call: Call) -> OperationCount:
    """Asks for what a sparse tensor holds: free, but a fake that does not know it answers with nothing at all."""
    _stored(call["self"])
    return NOTHING


def _stored(matrix: TensorSpec) -> Number:
    if matrix.stored is None:
        raise NotImplementedError(_NOT_KNOWN)
    return matrix.stored


def _product(sparse: TensorSpec, dense: TensorSpec) -> OperationCount:
    """A sparse matrix times a dense one, or times a vector."""
    if not sparse.is_sparse or dense.is_sparse:
        raise NotImplementedError(NOT_DENSE)
    return sparse_product(_stored(sparse), dense.shape[1] if len(dense.shape) == 2 else 1)


def _mm(call: Call) -> OperationCount:
    return _product(call["self"], call["mat2"])


def _mv(call: Call) -> OperationCount:
    return _product(call["self"], call["vec"])


def _addmm(call: Call) -> OperationCount:
    # The sums begin as the matrix that is given, times beta; alpha scales the values.
    count = _product(call["mat1"], call["mat2"])
    scaled = call.output.elements if call.get("beta", 1) not in (0, 1) else 0
    return count + OperationCount(multiply=scaled + (_stored(call["mat1"]) if call.get("alpha", 1) != 1 else 0))


_MOVES = """
    _sparse_coo_tensor_with_dims_and_tensors is_coalesced _is_coalesced _coalesced sparse_dim dense_dim
    alias detach clone _to_copy t transpose permute
"""
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_MOVES.split(), _free),
    **dict.fromkeys(("_indices", "_values", "indices", "values", "_nnz"), _held),
    "mm": _mm,
    "mv": _mv,
    **dict.fromkeys(("addmm", "_sparse_addmm"), _addmm),
}
