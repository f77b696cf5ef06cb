"""Convolutions: outputs * (channels in / groups) * taps multiply-accumulates, padding included."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from benchmarks.flops.cases.case import Program, case


@case(
    2 * 6 * 18 * 4 * 3,
    kinds={"multiply": 2 * 6 * 18 * 12, "add": 2 * 6 * 18 * 12},
    padding=0,
)
def conv1d() -> Program:
    """20 - 3 + 1 = 18 positions, 6 channels, 2 samples; dot products of 4 * 3, one bias each."""
    return nn.Conv1d(4, 6, 3), (torch.randn(2, 4, 20),)


@case(6 * 18 * 4 * 3)
def conv1d_unbatched() -> Program:
    """(4, 20) without a batch axis: one sample."""
    return nn.Conv1d(4, 6, 3), (torch.randn(4, 20),)


@case(2 * 6 * 10 * 4 * 3, padding=2 * 6 * 4 * 1)
def conv1d_strided_padded() -> Program:
    """(20 + 2 - 3) // 2 + 1 = 10 positions; the window at 0 hangs over the front by one, the last, 18 - 1 .. 19, over
    nothing: one tap per channel pair and sample is on padding.
    """
    return nn.Conv1d(4, 6, 3, stride=2, padding=1), (torch.randn(2, 4, 20),)


@case(2 * 6 * 12 * 4 * 5)
def conv1d_dilated() -> Program:
    """Five taps two apart reach over 9: 20 - 8 = 12 positions."""
    return nn.Conv1d(4, 6, 5, dilation=2), (torch.randn(2, 4, 20),)


@case(2 * 6 * 20 * 4 * 3, padding=2 * 6 * 4 * 2)
def conv1d_same() -> Program:
    """padding="same": 20 positions; two taps on padding, one at each end."""
    return nn.Conv1d(4, 6, 3, padding="same"), (torch.randn(2, 4, 20),)


@case(2 * 6 * 20 * 4 * 4)
def conv1d_same_even() -> Program:
    """padding="same" with an even kernel pads one side more than the other: still 20 positions."""
    return nn.Conv1d(4, 6, 4, padding="same"), (torch.randn(2, 4, 20),)


@case(2 * 6 * 20 * 4 * 3, padding=0)
def conv1d_circular() -> Program:
    """Circular padding copies real numbers before the convolution: no tap is on a zero."""
    return nn.Conv1d(4, 6, 3, padding=1, padding_mode="circular"), (torch.randn(2, 4, 20),)


@case(2 * 6 * 20 * 4 * 3, padding=0)
def conv1d_reflect() -> Program:
    """Reflection likewise."""
    return nn.Conv1d(4, 6, 3, padding=1, padding_mode="reflect"), (torch.randn(2, 4, 20),)


@case(2 * 6 * 20 * 4 * 3, padding=0)
def conv1d_replicate() -> Program:
    """Replication likewise."""
    return nn.Conv1d(4, 6, 3, padding=1, padding_mode="replicate"), (torch.randn(2, 4, 20),)


@case(2 * 8 * 10 * 10 * 3 * 9, padding=2 * 8 * 3 * (10 * 10 * 9 - 28 * 28))
def conv2d() -> Program:
    """10 x 10 positions of 9 taps on 3 channels; along an axis 28 of 30 taps are inside."""
    return nn.Conv2d(3, 8, 3, padding=1), (torch.randn(2, 3, 10, 10),)


@case(2 * 8 * 10 * 10 * 9)
def conv2d_depthwise() -> Program:
    """8 groups of one channel each."""
    return nn.Conv2d(8, 8, 3, padding=1, groups=8), (torch.randn(2, 8, 10, 10),)


@case(2 * 16 * 10 * 10 * 9)
def conv2d_depthwise_multiplied() -> Program:
    """Two outputs per channel: 16 outputs of one channel in."""
    return nn.Conv2d(8, 16, 3, padding=1, groups=8), (torch.randn(2, 8, 10, 10),)


@case(2 * 6 * 8 * 8 * 2 * 9)
def conv2d_grouped() -> Program:
    """2 groups: each output sees 4 / 2 channels."""
    return nn.Conv2d(4, 6, 3, groups=2), (torch.randn(2, 4, 10, 10),)


@case(2 * 6 * 10 * 10 * 4)
def conv2d_pointwise() -> Program:
    """A 1 x 1 convolution is a matrix product."""
    return nn.Conv2d(4, 6, 1), (torch.randn(2, 4, 10, 10),)


@case(
    1 * 32 * 81 * 40 * (11 * 41),
    kinds={
        "multiply": 32 * 81 * 40 * 451,
        "add": 32 * 81 * 40 * 450,
    },
)
def conv2d_of_the_published_network() -> Program:
    """First convolution on 120 frames: (161 + 40 - 41) // 2 + 1 = 81 bins, (120 + 10 - 11) // 3 + 1 = 40 frames."""
    return nn.Conv2d(1, 32, (41, 11), (2, 3), (20, 5), bias=False), (torch.randn(1, 1, 161, 120),)


@case(1 * 4 * 3 * 4 * 5 * 2 * 8)
def conv3d() -> Program:
    """(4, 5, 6) with a 2 x 2 x 2 kernel: 3 x 4 x 5 positions of 2 channels and 8 taps."""
    return nn.Conv3d(2, 4, 2), (torch.randn(1, 2, 4, 5, 6),)


@case(
    2 * 4 * 6 * 20 * 3,
    kinds={"multiply": 2 * 4 * 6 * 60, "add": 2 * 4 * 6 * 60 + 2 * 6 * 22},
)
def conv_transpose1d() -> Program:
    """Every one of 2 * 4 * 20 inputs is scattered to 6 channels and 3 taps, adding each product to an accumulator; 22
    positions get a bias.
    """
    return nn.ConvTranspose1d(4, 6, 3), (torch.randn(2, 4, 20),)


@case(2 * 4 * 6 * 10 * 10 * 16)
def conv_transpose2d() -> Program:
    """Stride 2, 4 x 4 taps, padding 1: 10 x 10 inputs times 16 taps, those that fall on the crop included."""
    return nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1), (torch.randn(2, 4, 10, 10),)


@case(2 * 4 * 3 * 10 * 10 * 9)
def conv_transpose2d_grouped_output_padding() -> Program:
    """2 groups: 4 inputs to 6 / 2 outputs; output padding adds positions, no products."""
    return (
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        (torch.randn(2, 4, 10, 10),),
    )


@case(1 * 2 * 4 * 60 * 27)
def conv_transpose3d_dilated() -> Program:
    """3 * 4 * 5 inputs of 2 channels to 4 channels and 27 taps."""
    return nn.ConvTranspose3d(2, 4, 3, dilation=2), (torch.randn(1, 2, 3, 4, 5),)


@case(2 * 6 * 18 * 4 * 3)
def conv1d_functional() -> Program:
    """Functional spelling with the weight as an input."""
    return functional.conv1d, (torch.randn(2, 4, 20), torch.randn(6, 4, 3))


@case(2 * 6 * 64 * 4 * 9)
def unfold_and_matmul() -> Program:
    """im2col, then (6, 36) times (36, 64) for each of 2 samples: a convolution spelled as a product."""

    def program(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return weight.flatten(1) @ functional.unfold(x, 3)

    return program, (torch.randn(2, 4, 10, 10), torch.randn(6, 4, 3, 3))


@case(2 * 6 * 18 * 4 * 3)
def tensor_unfold_and_einsum() -> Program:
    """Windows as a view, then 18 positions times 6 outputs times 4 * 3."""

    def program(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bctk,ock->bot", x.unfold(2, 3, 1), weight)

    return program, (torch.randn(2, 4, 20), torch.randn(6, 4, 3))


@case(4 * 20 * 3 * 2 + 2 * 20 * 4 * 6)
def separable_conv1d() -> Program:
    """Depthwise 3 taps over 4 channels at 20 positions of 2 samples, then 4 to 6 pointwise."""
    return (
        nn.Sequential(nn.Conv1d(4, 4, 3, padding=1, groups=4), nn.Conv1d(4, 6, 1)),
        (torch.randn(2, 4, 20),),
    )


@case(2 * 6 * 18 * 4 * 3)
def lazy_conv1d() -> Program:
    """A lazy module, initialised by its first input."""
    module = nn.LazyConv1d(6, 3)
    module(torch.randn(2, 4, 20))
    return module, (torch.randn(2, 4, 20),)


@case(5 * 2 * 3 * 3)
def conv_transpose1d_output_padding_of_a_stride() -> Program:
    """5 positions, 3 taps, 2 channels to 3: the output padding adds a zero and no product."""

    def program(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv_transpose1d(x, weight, stride=1, output_padding=1, dilation=2)

    return program, (torch.randn(1, 2, 5), torch.randn(2, 3, 3))


@case(3 * (7 * 2 * 3 * 4))
def conv1d_complex() -> Program:
    """Torch makes three convolutions of real numbers of one of complex ones."""
    return nn.Conv1d(3, 4, 2, dtype=torch.complex64), (torch.randn(1, 3, 8, dtype=torch.complex64),)
