"""Bytes moved: look-ups and indexed writes move the rows they are about, by hand."""

import pytest
import torch
from torch import nn

from deepspeech2 import count

TABLE = torch.empty(1000, 10)
ROW, ID = 10 * 4, 8
TWO = torch.tensor([0, 1])


def moved(program, *inputs):
    rows = list(count(program, inputs, strict=True).rows())
    return sum(row.bytes_read for row in rows), sum(row.bytes_written for row in rows)


@pytest.mark.parametrize(
    "program",
    [lambda x, i: x[i], lambda x, i: x.index_select(0, i), lambda x, i: nn.functional.embedding(i, x)],
)
def test_a_look_up_reads_the_rows_it_returns(program) -> None:
    assert moved(program, TABLE, TWO) == (2 * ROW + 2 * ID, 2 * ROW)


def test_rows_looked_up_often_are_no_more_than_the_table() -> None:
    often = torch.zeros(5000, dtype=torch.int64)
    assert moved(lambda x, i: x[i], TABLE, often) == (1000 * ROW + 5000 * ID, 5000 * ROW)


def test_writing_by_position_in_place_moves_the_places() -> None:
    rows = torch.empty(2, 10)
    values = 2 * ROW + 2 * ID
    assert moved(lambda x, v: x.index_add_(0, TWO, v), TABLE, rows) == (values + 2 * ROW, 2 * ROW)
    assert moved(lambda x, v: x.index_copy_(0, TWO, v), TABLE, rows) == (values, 2 * ROW)
    assert moved(lambda x, v: x.index_put_((TWO,), v), TABLE, rows) == (values, 2 * ROW)
    # A new tensor is all there.
    assert moved(lambda x, v: x.index_add(0, TWO, v), TABLE, rows) == (1000 * ROW + values, 1000 * ROW)


def test_what_is_overwritten_is_not_read() -> None:
    def program(cache, row):
        cache[5:6] = row

    assert moved(program, TABLE, torch.empty(1, 10)) == (ROW, ROW)


def test_what_an_expanded_view_repeats_is_read_once() -> None:
    assert moved(lambda x: x.expand(1000, 10) * 2, torch.empty(1, 10)) == (ROW, 1000 * ROW)
