"""Masks built from positions: the pairs that are counted are those of the mask itself, written out by torch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from deepspeech2 import count
from deepspeech2.flops.formulas.bands import Band

WIDTH = 5


def positions(size):
    index = torch.arange(size)
    return index[:, None], index[None, :]


def compared(compare):
    return lambda size: compare(*positions(size))


MASKS = {
    "tril": lambda size: torch.ones(size, size, dtype=torch.bool).tril(),
    "tril of floats": lambda size: torch.tril(torch.ones(size, size)) == 1,
    "minus infinity above": lambda size: torch.full((size, size), float("-inf")).triu(1),
    "nn.Transformer": torch.nn.Transformer.generate_square_subsequent_mask,
    "filled": lambda size: torch.zeros(size, size).masked_fill(
        torch.triu(torch.ones(size, size), 1).bool(), float("-inf")
    ),
    "filled in place": lambda size: torch.zeros(size, size).masked_fill_(
        torch.ones(size, size, dtype=torch.bool).tril().logical_not(), float("-inf")
    ),
    "compared": compared(lambda i, j: j <= i),
    "window": compared(lambda i, j: (j <= i) & (j > i - WIDTH)),
    "window on both sides": compared(lambda i, j: (i - j).abs() <= WIDTH),
    "window from triangles": lambda size: torch.where(
        torch.ones(size, size).tril().triu(-WIDTH).bool(), 0.0, float("-inf")
    ),
    "outside of nothing": lambda size: ~(torch.ones(size, size).tril(-1) > 0),
    "some keys ahead": compared(lambda i, j: j - i <= 3),
    "either": compared(lambda i, j: (j < i) | (j <= i)),
    "four axes": lambda size: compared(lambda i, j: j <= i)(size)[None, None].expand(2, 1, size, size),
    "in place": lambda size: torch.ones(size, size, dtype=torch.bool).tril_(),
    "part of a larger one": lambda size: torch.ones(2 * size, 2 * size, dtype=torch.bool).tril()[3 : size + 3, :size],
    "transposed": lambda size: torch.ones(size, size, dtype=torch.bool).triu().T,
    "reversed difference": lambda size: (1.0 - torch.ones(size, size).triu(1)).bool(),
}


def attend(mask):
    return lambda q: functional.scaled_dot_product_attention(q, q, q, attn_mask=mask(q.shape[-2]))


def allowed_pairs(mask, size) -> int:
    written = mask(size)
    allowed = written if written.dtype == torch.bool else written != float("-inf")
    return int(allowed.expand(2, 3, size, size).sum())


@pytest.mark.parametrize("name", MASKS)
def test_pairs_are_those_of_the_mask_at_any_size_and_as_a_formula(name) -> None:
    """Each pair costs 4 products for its score and 4 for its value; 1,100 squared is beyond what is written out."""
    program = attend(MASKS[name])
    example = torch.empty(2, 3, 16, 4, device="meta")
    formula = count(program, example, symbolic={"time": 2})
    for size in (3, 7, 16, 1100):
        expected = 8 * allowed_pairs(MASKS[name], size)
        assert count(program, torch.empty(2, 3, size, 4, device="meta")).macs == expected
        assert formula.at("mac", time=size) == expected
        direct = count(program, torch.empty(2, 3, size, 4, device="meta"))
        assert formula.tally_at(time=size).kinds == direct.kinds


def test_a_million_positions_are_counted_at_once() -> None:
    size = 1_000_000
    tally = count(attend(MASKS["window"]), torch.empty(1, 1, size, 4, device="meta"))
    assert tally.macs == 8 * (WIDTH * size - WIDTH * (WIDTH - 1) // 2)


def written_through_a_view(size):
    mask = torch.ones(size, size, dtype=torch.bool).tril()
    mask[:, :2] = True
    return mask


def written_whole(size):
    mask = torch.ones(size, size, dtype=torch.bool).tril()
    mask.logical_not_()
    return mask


def test_a_mask_that_was_written_is_not_taken_for_what_it_was() -> None:
    size = 1500
    example = torch.empty(1, 1, size, 4, device="meta")
    # Not a band: not known, and every pair counts.
    assert count(attend(written_through_a_view), example).macs == 8 * size**2
    assert count(attend(written_whole), example).macs == 8 * allowed_pairs(written_whole, size) // 6


bounds = st.one_of(st.none(), st.integers(-9, 9))
sizes = st.integers(1, 8)


@given(bounds, bounds, sizes, sizes)
def test_bands_are_counted_as_by_looking_at_every_pair(low, high, rows, columns) -> None:
    band = Band(-2, -1, low, high)
    inside = [
        (i, j)
        for i in range(rows)
        for j in range(columns)
        if (low is None or low <= i - j) and (high is None or i - j <= high)
    ]
    assert band.pairs(rows, columns) == len(inside)
    assert band.rows(rows, columns) == len({i for i, _ in inside})
    assert band.columns(rows, columns) == len({j for _, j in inside})
    other = band.complement()
    if other is not None:
        assert other.pairs(rows, columns) == rows * columns - len(inside)


@given(bounds, bounds, bounds, bounds, sizes)
def test_bands_intersect(low, high, other_low, other_high, size) -> None:
    both = Band(-2, -1, low, high).intersection(Band(-2, -1, other_low, other_high))
    inside = [
        1
        for i in range(size)
        for j in range(size)
        if all(a is None or a <= i - j for a in (low, other_low))
        and all(b is None or i - j <= b for b in (high, other_high))
    ]
    assert both.pairs(size, size) == len(inside)
    assert both.intersection(Band(-1, -2)) is None
