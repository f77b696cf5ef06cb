"""Layers that mostly move: an identity projection adds its offset, block-expand computes nothing."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech2.flops.formulas.projections import block_expand, identity_projection

deterministic = settings(max_examples=15, deadline=None, derandomize=True)


def loop_identity_projection(scalars, x, offset=None):
    return [list(x[n]) if offset is None else [v + o for v, o in zip(x[n], offset, strict=True)] for n in range(len(x))]


@deterministic
@given(rows=st.integers(1, 4), size=st.integers(1, 5), with_offset=st.booleans())
def test_identity_projection(proves, rows, size, with_offset) -> None:
    generator = np.random.default_rng(0)
    x, offset = generator.normal(size=(rows, size)), generator.normal(size=size)
    arrays = (x, offset) if with_offset else (x,)
    formula = identity_projection(rows * size, offset=with_offset)
    proves(formula, loop_identity_projection, *arrays, equals=x + offset * with_offset)
    # The notebook's rule: 0, and one per element when it has an offset.
    assert formula.notebook == (rows * size if with_offset else 0)


def loop_block_expand(scalars, image, *, block, stride):
    """One vector per block of an image (channels, height, width), channel first; a block may not leave the image."""
    channels, height, width = image.shape
    return [
        [image[c, y + i, x + j] for c in range(channels) for i in range(block[0]) for j in range(block[1])]
        for y in range(0, height - block[0] + 1, stride[0])
        for x in range(0, width - block[1] + 1, stride[1])
    ]


@deterministic
@given(data=st.data())
def test_block_expand(proves, data) -> None:
    block, stride = (data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in range(2))
    shape = (2, block[0] + data.draw(st.integers(0, 4)), block[1] + data.draw(st.integers(0, 4)))
    image = np.random.default_rng(0).normal(size=shape)
    blocks = torch.nn.functional.unfold(torch.from_numpy(image)[None], block, stride=stride)[0].T
    proves(block_expand(), loop_block_expand, image, block=block, stride=stride, equals=blocks)
    assert block_expand().notebook == 0
