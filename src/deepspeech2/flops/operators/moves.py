"""Operators that cost nothing by a stated rule: they move, reshape, select, allocate or convert."""

from __future__ import annotations

from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.operations import NOTHING, Number, OperationCount
from deepspeech2.flops.registry import Call, register_formula

# Reason -> operators. Everything here is zero on purpose; what is in no table is unknown, not zero.
FREE: dict[str, str] = {
    "changes how the same numbers are looked at": """
        view _unsafe_view reshape _reshape_alias view_as_real view_as_complex view_copy t transpose permute expand
        expand_as squeeze unsqueeze flatten unflatten movedim select slice split split_with_sizes unbind chunk
        narrow diagonal as_strided unfold detach alias lift lift_fresh _conj conj _neg_view real imag numpy_T
        swapaxes resolve_conj resolve_neg squeeze_copy unsqueeze_copy permute_copy transpose_copy t_copy slice_copy
        select_copy expand_copy split_copy split_with_sizes_copy unbind_copy detach_copy alias_copy diagonal_copy
        as_strided_copy unfold_copy _conj_copy view_as _reshape_copy unsafe_split unsafe_split_with_sizes
        _nested_tensor_size expand_as_copy view_as_real_copy view_as_complex_copy _reshape_alias_copy _lazy_clone
        _fw_primal _make_dual slice_inverse
    """,
    "copies numbers, or converts their type": """
        clone copy _to_copy to contiguous type_as _local_scalar_dense item lift_fresh_copy pin_memory
        _to_dense cat concat stack hstack vstack repeat repeat_interleave tile roll flip rot90 constant_pad_nd
        reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
        pixel_shuffle pixel_unshuffle channel_shuffle im2col tril triu _pack_padded_sequence
        _pin_memory _stack lu_unpack diag_embed resize_as
        copysign resize block_diag _unsafe_masked_index narrow_copy
    """,
    "reads or writes elements by position or by mask": """
        index index_select gather take take_along_dim embedding masked_select masked_fill masked_scatter where
        _unsafe_index index_copy index_fill select_scatter slice_scatter
        diagonal_scatter as_strided_scatter nonzero nonzero_static one_hot fill
        upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
        _upsample_nearest_exact3d max_unpool2d max_unpool3d
    """,
    "allocates, or fills with a constant": """
        empty empty_like empty_strided empty_permuted new_empty new_empty_strided zeros zeros_like new_zeros ones
        ones_like new_ones full full_like new_full zero set eye scalar_tensor tril_indices triu_indices
        _new_zeros_with_same_feature_meta _efficientzerotensor efficientzerotensor
    """,
    "asks about a tensor, or draws indices": """
        _nested_tensor_from_mask_left_aligned
        sym_size sym_stride sym_numel sym_storage_offset size stride numel dim is_nonzero is_same_size
        _assert_async _assert_scalar _assert_tensor_metadata sym_constrain_range sym_constrain_range_for_size
        randint randperm randint_like is_pinned _has_compatible_shallow_copy_type _is_all_true _is_any_true
        _fused_sdp_choice is_set_to _has_same_storage_numel _functional_assert_scalar _print _resize_output
        _functional_sym_constrain_range_for_size _linalg_check_errors random
        result_type can_cast is_complex is_floating_point _functional_assert_async _functional_sym_constrain_range
    """,
    "gradient of a move: it moves back": """
        slice_backward select_backward constant_pad_nd_backward
        diagonal_backward value_selecting_reduction_backward masked_select_backward
    """,
    "holds a sparse gradient: the rows as they come, and where they belong": """
        _sparse_coo_tensor_with_dims_and_tensors _indices _values indices values _nnz is_coalesced _is_coalesced
        _coalesced sparse_dim dense_dim
    """,
}


def _free(_: Call) -> OperationCount:
    return NOTHING


_NAMES = dict.fromkeys(name for names in FREE.values() for name in names.split())
register_formula(*[f"aten::{name}" for name in _NAMES])(_free)
# Marks for a profiler.
register_formula(
    *[f"profiler::_record_function_{name}" for name in ("enter", "enter_new", "exit")],
)(_free)


@register_formula("aten::index_put", "aten::_index_put_impl", "aten::_unsafe_index_put")
def _index_put(call: Call) -> OperationCount:
    # Writing is free; accumulating adds every value to what is there.
    return OperationCount(add=call["values"].elements if call.get("accumulate") else 0)


@register_formula("aten::put")
def _put(call: Call) -> OperationCount:
    return OperationCount(add=call["source"].elements if call.get("accumulate") else 0)


@register_formula("aten::scatter")
def _scatter(call: Call) -> OperationCount:
    # Writing is free; with a reduction, every index adds to or multiplies what is there.
    reduction = call.get("reduce")
    if reduction is None:
        return NOTHING
    elements = call["index"].elements
    return OperationCount(multiply=elements) if reduction == "multiply" else OperationCount(add=elements)


@register_formula("aten::index_add", "aten::scatter_add")
def _accumulate(call: Call) -> OperationCount:
    values = call.get("source") or call["src"]
    return OperationCount(add=values.elements, multiply=values.elements if call.get("alpha", 1) != 1 else 0)


@register_formula("aten::scatter_reduce", "aten::index_reduce")
def _scatter_reduce(call: Call) -> OperationCount:
    values = (call.get("src") or call["source"]).elements
    kind = {"sum": "add", "mean": "add", "prod": "multiply"}.get(call["reduce"], "compare")
    divisions = call.output.elements if call["reduce"] == "mean" else 0
    return OperationCount(**{kind: values}) + OperationCount(divide=divisions)


@register_formula("aten::embedding_dense_backward", "aten::embedding_backward")
def _embedding_gradient(call: Call) -> OperationCount:
    # Every row of the gradient is added to the row of its index.
    return OperationCount(add=call["grad_output"].elements)


@register_formula("aten::_embedding_bag", "aten::_embedding_bag_forward_only")
def _embedding_bag(call: Call) -> OperationCount:
    # mode 0 sum, 1 mean, 2 max: each row joins its bag; the first row of a bag is a copy.
    width = call["weight"].shape[1]
    joined = (call["indices"].elements - call.output.shape[0]) * width
    weighted = call["indices"].elements * width if call.get("per_sample_weights") is not None else 0
    if call.get("mode") == 2:
        return OperationCount(compare=joined)
    return OperationCount(add=joined, multiply=weighted, divide=call.output.elements if call.get("mode") == 1 else 0)


@register_formula("aten::_embedding_bag_dense_backward", "aten::_embedding_bag_backward")
def _embedding_bag_gradient(call: Call) -> OperationCount:
    # Every row of a bag receives the bag's gradient (mode 1: divided by the bag's size, mode 2: only the largest do).
    if call.get("sparse"):
        raise NotImplementedError("a sparse gradient")
    grad = call["grad"].elements
    if call["mode"] == 2:
        return OperationCount(add=grad)
    joined = call["indices"].elements * call["grad"].shape[1]
    weighted = joined if call.get("per_sample_weights") is not None else 0
    return OperationCount(add=joined, multiply=weighted, divide=grad if call["mode"] == 1 else 0)


@register_formula("aten::_embedding_bag_per_sample_weights_backward")
def _bag_weights_gradient(call: Call) -> OperationCount:
    # The bag's gradient times the row, for every index.
    return dot_products(call["indices"].elements, call["grad"].last)


@register_formula("aten::embedding_renorm")
def _embedding_renorm(call: Call) -> OperationCount:
    # Per index the norm of its row, compared with the limit; limit / (norm + epsilon), times the row.
    rows: Number = call["indices"].elements
    width = call["self"].shape[1]
    norms = OperationCount(multiply=width, add=width - 1, sqrt=1)
    if call["norm_type"] != 2:
        norms = OperationCount(other=width + (0 if call["norm_type"] == 1 else width + 1), add=width - 1)
    return (norms + OperationCount(compare=1, add=1, divide=1, multiply=width)) * rows


@register_formula("aten::segment_reduce")
def _segment_reduce(call: Call) -> OperationCount:
    """Every value joins its segment; the first one is a copy."""
    joined = call["data"].elements - call.output.elements
    kind = {"sum": "add", "mean": "add", "prod": "multiply"}.get(call["reduce"], "compare")
    return OperationCount(**{kind: joined}) + OperationCount(
        divide=call.output.elements if call["reduce"] == "mean" else 0
    )


@register_formula("aten::_segment_reduce_backward")
def _segment_reduce_gradient(call: Call) -> OperationCount:
    elements, segments = call["data"].elements, call["output"].elements
    each = {
        "sum": NOTHING,
        "mean": OperationCount(divide=segments),
        # g * product / value
        "prod": OperationCount(multiply=elements, divide=elements),
    }
    # The largest: equal to the result, and shared among those that are.
    return each.get(call["reduce"], OperationCount(compare=elements, divide=segments))


@register_formula("aten::masked_scatter_backward")
def _masked_scatter_gradient(_: Call) -> OperationCount:
    return NOTHING


@register_formula(
    "aten::reflection_pad1d_backward",
    "aten::reflection_pad2d_backward",
    "aten::reflection_pad3d_backward",
    "aten::replication_pad1d_backward",
    "aten::replication_pad2d_backward",
    "aten::replication_pad3d_backward",
    "aten::upsample_nearest1d_backward",
    "aten::upsample_nearest2d_backward",
    "aten::upsample_nearest3d_backward",
    "aten::_upsample_nearest_exact1d_backward",
    "aten::_upsample_nearest_exact2d_backward",
    "aten::_upsample_nearest_exact3d_backward",
    "aten::unfold_backward",
)
def _copied_gradient(call: Call) -> OperationCount:
    # Every gradient is added where its value was copied from.
    return OperationCount(add=call.tensors[0].elements)
