"""Which formula counts which torch operator: rules that read a call's shapes and options.

One file per family. Importing this package registers them all.
"""

from __future__ import annotations

from deepspeech2.flops.operators import (  # noqa: F401
    accumulating,
    attention,
    complex_numbers,
    convolutions,
    distances,
    embeddings,
    experts,
    histograms,
    linear_algebra,
    losses,
    moves,
    normalisation,
    optimisers,
    pointwise,
    pooling,
    primitives,
    products,
    quantised,
    recurrent,
    reductions,
    resampling,
    sorting,
    spectral,
)
