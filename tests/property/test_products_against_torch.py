"""Multiply-accumulates of convolutions and matrix products equal torch's own counter on the meta device."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from deepspeech2 import build_model, count

deterministic = settings(max_examples=40, deadline=None, derandomize=True)
# Torch turns an einsum over an axis of length one into a plain multiplication, which is no product of matrices.
two_or_more = st.integers(2, 9)
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def macs_by_torch(program, *inputs) -> int:
    """Torch counts two operations for a multiply-accumulate."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        program(*inputs)
    total = counter.get_total_flops()
    assert total % 2 == 0
    return total // 2


def meta(*shape):
    return torch.empty(shape, device="meta")


@deterministic
@given(data=st.data(), axes=st.integers(1, 3), transposed=st.booleans(), bias=st.booleans())
def test_convolutions(data, axes, transposed, bias) -> None:
    def each(low, high):
        return data.draw(st.tuples(*[st.integers(low, high)] * axes))

    groups = data.draw(st.integers(1, 3))
    channels = groups * data.draw(st.integers(1, 5)), groups * data.draw(st.integers(1, 5))
    kernel, stride, dilation, padding = each(1, 5), each(1, 4), each(1, 3), each(0, 6)
    if not transposed:
        padding = tuple(min(p, 3) for p in padding)
    size = each(1, 30)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "bias": bias}
    zipped = list(zip(size, kernel, stride, padding, dilation, strict=True))
    if transposed:
        assume(all((n - 1) * s - 2 * p + d * (k - 1) + 1 >= 1 for n, k, s, p, d in zipped))
    else:
        assume(all(n + 2 * p - d * (k - 1) >= 1 for n, k, s, p, d in zipped))
    layer = (TRANSPOSED if transposed else CONVOLUTIONS)[axes](*channels, kernel, device="meta", **options)
    x = meta(data.draw(st.integers(1, 4)), channels[0], *size)
    tally = count(layer, x, strict=True)
    assert tally.macs == macs_by_torch(layer, x)
    assert 0 <= tally.padding_macs < max(tally.macs, 1) or tally.padding_macs == tally.macs


SPELLINGS = {
    "linear": lambda x, w: nn.functional.linear(x, w.t()),
    "operator": lambda x, w: x @ w,
    "mm": torch.mm,
    "addmm": lambda x, w: torch.addmm(w[0], x, w),
    "bmm": lambda x, w: torch.bmm(x[None], w[None]),
    "baddbmm": lambda x, w: torch.baddbmm(w[None, :1], x[None], w[None]),
    "matmul with a batch": lambda x, w: torch.matmul(x[None, None], w),
    "einsum": lambda x, w: torch.einsum("ij,jk->ik", x, w),
    "tensordot": lambda x, w: torch.tensordot(x, w, dims=1),
    "out": lambda x, w: torch.mm(x, w, out=x.new_empty(x.shape[0], w.shape[1])),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(rows=two_or_more, inner=two_or_more, columns=two_or_more)
def test_every_spelling_of_a_product_is_the_same_product(spelling, rows, inner, columns) -> None:
    x, w = meta(rows, inner), meta(inner, columns)
    program = SPELLINGS[spelling]
    tally = count(program, (x, w), strict=True)
    assert tally.macs == rows * inner * columns == macs_by_torch(program, x, w)
    with_bias = spelling in ("addmm", "baddbmm")
    assert tally.kinds["multiply"] == tally.macs
    assert tally.kinds["add"] == tally.macs - (0 if with_bias else rows * columns)


class Stepwise(nn.Module):
    """The products of a DeepSpeech2 in plain torch, a step at a time; no norms and activations, they have none."""

    def __init__(self, model) -> None:
        super().__init__()
        self.model = model
        self.gru = model.options.cell == "gru"

    def forward(self, features):
        x = features[:, None]
        for layer in self.model.conv:
            x = layer.convolution(x)
        x = x.permute(0, 3, 1, 2).flatten(2)
        for layer in self.model.recurrent:
            if self.model.options.shared:
                ahead = back = layer.projection(x)
            else:
                ahead, back = layer.forward_projection(x), layer.backward_projection(x)
            x = torch.cat([self.run(layer.forward_recurrence, ahead), self.run(layer.backward_recurrence, back)], -1)
        return self.model.output(x)

    def run(self, cell, x):
        size = len(cell.bias) // (3 if self.gru else 1)
        h = x[:, 0, :size]
        for _ in range(x.shape[1] - 1):
            gates = (h @ cell.gate_weight)[:, :size] if self.gru else 0
            h = gates + h @ (cell.candidate_weight if self.gru else cell.weight)
        return h[:, None].expand(-1, x.shape[1], -1)


@pytest.mark.parametrize("preset", ["default", "librispeech", "aishell", "baidu-en8k"])
@pytest.mark.parametrize(("batch", "time"), [(1, 61), (3, 20)])
def test_published_models(preset, batch, time) -> None:
    model = build_model(preset, device="meta")
    x = meta(batch, 161, time)
    assert count(model, x, strict=True).macs == macs_by_torch(Stepwise(model), x)
