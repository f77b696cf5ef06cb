"""Convolutions of any number of axes: grouped, dilated, strided, transposed, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepspeech2.flops.formulas.products import dot_products
from deepspeech2.flops.operations import Number, OperationCount, at_least_zero


@dataclass(frozen=True, slots=True)
class Window:
    """One axis of a convolution; sizes in elements.

    Attributes:
        size: input length.
        kernel: taps.
        stride: step between outputs.
        padding_before: zeros put in front of the input.
        padding_after: zeros put behind it.
        dilation: distance between taps.
    """

    size: Number
    kernel: int
    stride: int = 1
    padding_before: int = 0
    padding_after: int = 0
    dilation: int = 1

    @property
    def _slack(self) -> int:
        """How far the last window may start behind the first, less the input length."""
        return self.padding_before + self.padding_after - self.dilation * (self.kernel - 1)

    @property
    def outputs(self) -> Number:
        """Number of output positions."""
        return (self.size - 1 + self._slack) // self.stride + 1

    @property
    def taps_inside(self) -> Number:
        """Pairs (output position, tap) that read the input itself, not the padding.

        Tap j of output o reads position o * stride + j * dilation - padding_before.
        """
        return sum(self._outputs_inside(tap) for tap in range(self.kernel))

    def _outputs_inside(self, tap: int) -> Number:
        """Output positions for which one tap reads the input."""
        offset = self.padding_before - tap * self.dilation
        first = max(0, -(-offset // self.stride))
        # One past the last position is (size - 1 + c) // stride + 1, with c = offset for "still inside" and
        # c = slack for "exists"; the smaller constant decides, for symbolic sizes too.
        end = (self.size - 1 + min(offset, self._slack)) // self.stride + 1
        inside = end - first
        if isinstance(inside, int):
            return max(0, inside)
        # An input shorter than the kernel's reach would give less than none.
        reaches_one = (min(offset, self._slack)) // self.stride + 1 >= first
        return inside if reaches_one else at_least_zero(inside)


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution's sizes: samples, channels, groups and one window per axis."""

    samples: Number
    channels_in: int
    channels_out: int
    windows: Sequence[Window]
    groups: int = 1

    @property
    def products(self) -> Number:
        """Multiply-accumulates when taps on the padding are computed like all others."""
        return self._channel_pairs * _product(window.outputs * window.kernel for window in self.windows)

    @property
    def products_on_padding(self) -> Number:
        """The part of `products` that multiplies a zero of the padding."""
        inside = _product(window.taps_inside for window in self.windows)
        return self.products - self._channel_pairs * inside

    @property
    def outputs(self) -> Number:
        """Elements of the result."""
        return self.samples * self.channels_out * self.positions

    @property
    def inputs(self) -> Number:
        """Elements of the input."""
        return self.samples * self.channels_in * _product(window.size for window in self.windows)

    @property
    def positions(self) -> Number:
        """Output positions of one channel of one sample."""
        return _product(window.outputs for window in self.windows)

    @property
    def weights(self) -> int:
        """Elements of the kernel."""
        size = self.channels_in * self.channels_out // self.groups
        for window in self.windows:
            size *= window.kernel
        return size

    @property
    def _channel_pairs(self) -> Number:
        return self.samples * self.channels_in * (self.channels_out // self.groups)


def _product(factors: object) -> Number:
    result: Number = 1
    for factor in factors:  # type: ignore[attr-defined]
        result = result * factor
    return result


def convolution(sizes: Convolution, *, bias: bool) -> OperationCount:
    """Direct convolution, dense: one dot product over channels and taps per output element.

    Taps on zero padding are computed (and reported as `padding_macs`). Notebook: 2 * Cin * Kx * Ky - 1 per output
    element, one more with a bias. FFT and Winograd implementations need other numbers of operations.
    """
    length = sizes.channels_in // sizes.groups
    for window in sizes.windows:
        length *= window.kernel
    count = dot_products(sizes.outputs, length, bias=bias)
    return count + OperationCount(padding_macs=sizes.products_on_padding)


def transposed_convolution(gradient_of: Convolution, *, bias: bool) -> OperationCount:
    """Transposed convolution, as a scatter: every input element times every tap is added to an accumulator.

    `gradient_of` is the convolution whose input has the size of this operator's output. Accumulators start at zero,
    so each product costs one addition, and the bias one more per output element. Products that fall on the cropped
    border are computed and reported as `padding_macs`.
    """
    products = gradient_of.products
    additions = products + (gradient_of.inputs if bias else 0)
    return OperationCount(
        multiply=products,
        add=additions,
        macs=products,
        padding_macs=gradient_of.products_on_padding,
        notebook=products + additions,
    )


def convolution_weight_gradient(sizes: Convolution) -> OperationCount:
    """Gradient of the kernel: one dot product over samples and output positions per weight."""
    products = sizes.products
    return OperationCount(
        multiply=products, add=products - sizes.weights, macs=products, padding_macs=sizes.products_on_padding
    )


def bias_gradient(channels: Number, elements_per_channel: Number) -> OperationCount:
    """Gradient of a bias: the sum of the output's gradient over all elements that share it."""
    return OperationCount(add=channels * (elements_per_channel - 1))
