"""Our counter on the table of micro-cases: every count equals the one derived by hand."""

import pytest
import torch

from benchmarks.flops.cases import CASES
from deepspeech2 import count
from deepspeech2.flops.operations import KINDS


def test_the_table_is_large_and_its_names_differ() -> None:
    assert len(CASES) >= 120
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.derivation for case in CASES)


# torch warns of its own: of TorchScript, of quantised tensors, of recurrent layers in exports, of even kernels with
# padding "same".
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore:.*during export",
    "ignore:Using padding='same'",
    "ignore:Using `torch.compile",
    "ignore:torch.quantize_per_tensor",
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}-{case.name}")
def test_counts_what_was_derived_by_hand(case) -> None:
    torch.manual_seed(0)
    program, inputs = case.build()
    tally = count(program, inputs)
    assert tally.unknown == ()
    assert tally.macs == case.macs
    if case.kinds is not None:
        assert tally.kinds == {**dict.fromkeys(KINDS, 0), **case.kinds}
        assert tally.count.modelled == case.modelled
    if case.padding is not None:
        assert tally.padding_macs == case.padding
    if case.integer is not None:
        assert tally.count.integer == case.integer
