"""Operators that cost nothing: they move, reshape, select, allocate or convert."""

from __future__ import annotations

from deepspeech2.flops.operations import NOTHING, OperationCount
from deepspeech2.flops.registry import Call, register_formula

# Reason -> operators, as for torch: zero on purpose.
FREE: dict[str, str] = {
    "changes how the same numbers are looked at": """
        Reshape Squeeze Unsqueeze Flatten Transpose Identity Slice Split Expand Optional OptionalGetElement
        OptionalHasElement SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength
        SplitToSequence
    """,
    "copies numbers, or converts their type": """
        Cast CastLike Concat ConcatFromSequence Tile Pad CenterCropPad DepthToSpace SpaceToDepth Trilu ReverseSequence
        Upsample TensorScatter BitCast
    """,
    "reads or writes elements by position or by mask": """
        Gather GatherElements GatherND Where NonZero OneHot Compress MaxUnpool
    """,
    "allocates, or fills with a constant, or asks about a tensor": "Constant ConstantOfShape EyeLike Shape Size",
    "draws indices or texts": "StringNormalizer StringConcat StringSplit RegexFullMatch TfIdfVectorizer",
}


def _free(_: Call) -> OperationCount:
    return NOTHING


register_formula(*[f"onnx::{name}" for names in FREE.values() for name in names.split()])(_free)


@register_formula("onnx::Scatter", "onnx::ScatterElements", "onnx::ScatterND")
def _scatter(call: Call) -> OperationCount:
    # Writing is free; with a reduction every value joins what is there.
    kind = {"add": "add", "mul": "multiply", "max": "compare", "min": "compare"}.get(call.get("reduction", "none"))
    return OperationCount(**{kind: call["updates"].elements}) if kind else NOTHING
