"""The table of micro-cases: small programs and their exact counts, derived by hand.

The tests hold our counter to them, and the benchmark runs every peer on them.
"""

from benchmarks.flops.cases import (
    arrivals,
    attention,
    convolutions,
    integers,
    losses,
    normalisation,
    pointwise,
    products,
    recurrent,
    resampling,
    spectral,
    structure,
)
from benchmarks.flops.cases.case import CASES, Case

GROUPS = (
    recurrent,
    convolutions,
    products,
    attention,
    normalisation,
    pointwise,
    losses,
    resampling,
    spectral,
    integers,
    structure,
    arrivals,
)
__all__ = ["CASES", "GROUPS", "Case"]
