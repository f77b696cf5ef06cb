"""A script counts the same the first time, the third time, and after it has run."""

import warnings

import pytest
import torch
from torch import nn

from deepspeech2 import count

QUERIES, WIDTH, HEADS = 16, 8, 2 * 3
# Scores and mixing, a product of the width for every pair of a query and a key not behind it.
CAUSAL = HEADS * 2 * WIDTH * sum(1 for query in range(QUERIES) for key in range(QUERIES) if key <= query)


class Causal(nn.Module):
    def forward(self, x):
        places = torch.arange(16)
        mask = places[:, None] >= places[None, :]
        return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)


@pytest.mark.parametrize("runs", [0, 3])
def test_a_script_counts_the_same_however_often_it_ran_or_was_counted(runs) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.script(Causal())
    x = torch.zeros(2, 3, QUERIES, WIDTH)
    for _ in range(runs):
        script(x)
    assert [count(script, x, strict=True).macs for _ in range(3)] == [CAUSAL] * 3 == [13_056] * 3


def test_the_executor_optimises_again_after_a_count() -> None:
    before = torch._C._get_graph_executor_optimize()
    count(nn.Linear(2, 2), torch.zeros(1, 2))
    assert torch._C._get_graph_executor_optimize() is before
