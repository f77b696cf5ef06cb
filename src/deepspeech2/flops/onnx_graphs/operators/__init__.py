"""Which formula counts which ONNX operator; one file per family, all registered by importing this package.

Rules are registered as `onnx::Name` beside those of torch. Where an operator is one of torch's, its rule is used, so
that both count the same. A call's `values` hold the inputs that are known, `opset` the version of the operator set.
"""

from __future__ import annotations

from deepspeech2.flops.onnx_graphs.operators import layers, moves, pointwise, products, recurrences, reductions

FAMILIES = (layers, moves, pointwise, products, recurrences, reductions)
