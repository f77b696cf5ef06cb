"""Operators that cost nothing by a stated rule: they move, reshape, select, allocate or convert."""

from __future__ import annotations

from deepspeech2.flops.operations import NOTHING, OperationCount
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
        diagonal_backward value_selecting_reduction_backward masked_select_backward masked_scatter_backward
    """,
    "makes a sparse tensor of values and where they belong, or asks it for them (see `sparse.py`)": """
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
