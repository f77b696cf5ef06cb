"""Sorts by their stated model: N ceil(log2 n) comparisons for rows of n."""

import pytest
import torch

from deepspeech2 import count


@pytest.mark.parametrize(
    ("program", "comparisons"),
    [
        # Without an axis all thousand are one row: ceil(log2 1000) = 10.
        (torch.median, 1000 * 10),
        (torch.nanmedian, 1000 * 10),
        (lambda x: x.median(dim=1).values, 1000 * 7),
        (lambda x: x.sort(dim=0).values, 1000 * 4),
        (torch.msort, 1000 * 4),
        (lambda x: x.kthvalue(2).values, 1000 * 7),
    ],
)
def test_rows_are_as_long_as_their_axis(program, comparisons) -> None:
    tally = count(program, torch.empty(10, 100))
    assert tally.kinds["compare"] == tally.modelled == comparisons
