"""Complex arithmetic, wherever the complex numbers come from: operations on real parts, by hand."""

import pytest
import torch

from deepspeech2 import count

Z = torch.empty(100, dtype=torch.complex64)
# (a + bi)(c + di) = (ac - bd) + (ad + bc)i; with a real factor two products; a sum is one of each part.
BOTH, HALF, SUM = {"multiply": 4, "add": 2}, {"multiply": 2}, {"add": 2}


def merged(*prices):
    return {kind: sum(price.get(kind, 0) for price in prices) for kind in {kind for price in prices for kind in price}}


@pytest.mark.parametrize(
    ("program", "price"),
    [
        (lambda z: z * 1j, BOTH),
        (lambda z: 1j * z, BOTH),
        (lambda z: z * torch.tensor(1j), BOTH),
        (lambda z: z.clone().mul_(2j), BOTH),
        (lambda z: z * 2, HALF),
        (lambda z: z * z.real, HALF),
        (lambda z: z.real * 2j, HALF),
        (lambda z: z + 1j, SUM),
        (lambda z: torch.add(z, z, alpha=2), merged(HALF, SUM)),
        (lambda z: torch.add(z, z, alpha=2j), merged(BOTH, SUM)),
        (lambda z: torch.sub(z, z.real, alpha=2j), merged(HALF, SUM)),
        (lambda z: torch.rsub(z, z, alpha=2j), merged(BOTH, SUM)),
        (lambda z: z.index_add(0, torch.arange(100), z), SUM),
        (lambda z: z.index_add(0, torch.arange(100), z, alpha=3), merged(HALF, SUM)),
        (lambda z: z.index_add(0, torch.arange(100), z, alpha=3j), merged(BOTH, SUM)),
        # x conj(y) / (c c + d d), times a number, plus what it is added to
        (lambda z: torch.addcdiv(z, z, z, value=2j), merged(BOTH, {"multiply": 2, "add": 1, "divide": 2}, BOTH, SUM)),
    ],
)
def test_an_operation_on_complex_numbers_is_so_many_on_real_ones(program, price) -> None:
    tally = count(program, Z, strict=True)
    expected = {kind: 100 * each for kind, each in price.items()}
    assert {kind: amount for kind, amount in tally.kinds.items() if amount} == expected
