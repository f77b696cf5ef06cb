"""Attention under torch.func.vmap costs what it costs sample by sample: pairs a mask forbids are not computed."""

import pytest
import torch
from torch.func import vmap
from torch.nn.functional import scaled_dot_product_attention as attention

from deepspeech2 import count

SAMPLES, HEADS, QUERIES, WIDTH = 2, 3, 16, 8
PAIRS = sum(1 for query in range(QUERIES) for key in range(QUERIES) if key <= query)
# Scores and mixing.
CAUSAL = SAMPLES * HEADS * 2 * WIDTH * PAIRS
MASK = torch.arange(QUERIES)[:, None] >= torch.arange(QUERIES)

MAPPED = {
    "one vmap": vmap(lambda z: attention(z, z, z, is_causal=True)),
    "two": vmap(vmap(lambda z: attention(z, z, z, is_causal=True))),
    "a mask for all": vmap(lambda z: attention(z, z, z, attn_mask=MASK)),
    "over the second axis": vmap(lambda z: attention(z, z, z, attn_mask=MASK), in_dims=1, out_dims=1),
    "keys for all": lambda x: vmap(lambda z: attention(z, x[0], x[0], is_causal=True))(x),
    "queries for all": lambda x: vmap(lambda z: attention(x[0], z, z, is_causal=True))(x),
    "options by place": vmap(lambda z: attention(z, z, z, None, 0.0, True)),
    "a mask for each": lambda x: vmap(lambda z, m: attention(z, z, z, m))(x, MASK.expand(SAMPLES, -1, -1).clone()),
}


@pytest.mark.parametrize("name", MAPPED)
def test_mapped_attention_counts_pairs_its_mask_allows(name) -> None:
    program, x = MAPPED[name], torch.zeros(SAMPLES, HEADS, QUERIES, WIDTH)
    shapes = []
    tally = count(lambda x: shapes.append(program(x).shape), x, strict=True)
    assert tally.macs == CAUSAL == 13_056
    assert shapes == [program(x).shape]
    assert tally.kinds == count(lambda x: attention(x, x, x, is_causal=True), x).kinds


def test_the_formula_is_that_of_attention_too() -> None:
    formula = count(MAPPED["one vmap"], torch.zeros(2, 3, 16, 8), symbolic={"batch": 0, "time": 2})
    for batch, time in ((1, 7), (4, 33)):
        pairs = sum(1 for query in range(time) for key in range(time) if key <= query)
        assert formula.at("mac", batch=batch, time=time) == batch * HEADS * 2 * WIDTH * pairs


@pytest.mark.parametrize(
    "program",
    [
        vmap(torch.func.grad(lambda z: attention(z, z, z, is_causal=True).sum())),
        torch.func.grad(lambda x: vmap(lambda z: attention(z, z, z, is_causal=True))(x).sum()),
        vmap(vmap(torch.func.grad(lambda z: attention(z, z, z, is_causal=True).sum()))),
    ],
)
def test_a_gradient_around_or_inside_counts_pairs_its_mask_allows(program) -> None:
    """Scores and mixing; in the gradient the scores again, and a product for each of the probabilities, q, k and v."""
    x = torch.zeros(SAMPLES, HEADS, QUERIES, WIDTH)
    assert count(program, x, strict=True).macs == SAMPLES * HEADS * WIDTH * PAIRS * (2 + 5)
