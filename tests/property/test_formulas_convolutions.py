"""Convolutions of any number of axes: each formula equals the loops it names, padding taps found by their bounds."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from deepspeech2.flops.formulas.convolutions import (
    Convolution,
    Window,
    bias_gradient,
    convolution,
    convolution_weight_gradient,
    transposed_convolution,
)

deterministic = settings(max_examples=40, deadline=None, derandomize=True)
FORWARD = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


@dataclass(frozen=True)
class Case:
    samples: int
    channels_in: int
    channels_out: int
    groups: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def axes(self):
        return len(self.size)

    @property
    def output_size(self):
        """Length after each axis, as torch's documentation of Conv2d gives it."""
        zipped = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zipped)

    @property
    def sizes(self):
        windows = [
            Window(n, k, s, p, p, d)
            for n, k, s, p, d in zip(self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        ]
        return Convolution(self.samples, self.channels_in, self.channels_out, windows, self.groups)

    @property
    def options(self):
        return {name: getattr(self, name) for name in ("stride", "padding", "dilation", "groups")}

    def arrays(self):
        generator = np.random.default_rng(0)
        shapes = (
            (self.samples, self.channels_in, *self.size),
            (self.channels_out, self.channels_in // self.groups, *self.kernel),
            (self.samples, self.channels_out, *self.output_size),
        )
        return [torch.from_numpy(generator.normal(size=shape)) for shape in shapes]

    def position(self, output, tap):
        """Where in the padded input a tap of an output reads, and whether that is in the input itself."""
        zipped = zip(output, tap, self.stride, self.dilation, self.padding, strict=True)
        place = tuple(o * s + t * d - p for o, t, s, d, p in zipped)
        return place, all(0 <= i < n for i, n in zip(place, self.size, strict=True))


@st.composite
def cases(draw):
    axes = draw(st.integers(1, 3))
    limit = {1: 7, 2: 4, 3: 3}[axes]

    def each(low, high):
        return draw(st.tuples(*[st.integers(low, high)] * axes))

    groups = draw(st.integers(1, 2))
    case = Case(
        samples=draw(st.integers(1, 2)),
        channels_in=groups * draw(st.integers(1, 2)),
        channels_out=groups * draw(st.integers(1, 2)),
        groups=groups,
        size=each(1, limit),
        kernel=each(1, 3),
        stride=each(1, 3),
        padding=each(0, 2),
        dilation=each(1, 2),
    )
    assume(all(size >= 1 for size in case.output_size))
    return case


def grouped_channels(case):
    """(output channel, input channel, index of that input channel in the weight)."""
    outs, ins = case.channels_out // case.groups, case.channels_in // case.groups
    return [(o, o // outs * ins + i, i) for o in range(case.channels_out) for i in range(ins)]


def loop_convolution(scalars, x, weight, bias=None, *, case):
    zero = scalars.constant(0)
    outs = case.channels_out // case.groups
    result = np.empty((case.samples, case.channels_out, *case.output_size), object)
    for place in np.ndindex(result.shape):
        sample, channel, output = place[0], place[1], place[2:]
        pairs = []
        for i, *tap in product(range(weight.shape[1]), *map(range, case.kernel)):
            where, inside = case.position(output, tap)
            source = channel // outs * weight.shape[1] + i
            pairs.append((x[sample, source, *where] if inside else zero, weight[channel, i, *tap]))
            scalars.padding_macs += not inside
        total = scalars.accumulate(None, pairs)
        result[place] = total if bias is None else total + bias[channel]
    return result


@deterministic
@given(case=cases(), bias=st.booleans())
def test_convolution(proves, case, bias) -> None:
    x, weight, _ = case.arrays()
    shift = torch.linspace(-1, 1, case.channels_out, dtype=torch.float64) if bias else None
    arrays = (x, weight, shift) if bias else (x, weight)
    formula = convolution(case.sizes, bias=bias)
    expected = FORWARD[case.axes](x, weight, shift, **case.options)
    proves(formula, loop_convolution, *arrays, case=case, equals=expected)
    # The notebook's rule for one output element, times the output elements.
    length = case.channels_in // case.groups * np.prod(case.kernel)
    assert formula.notebook == expected.numel() * (2 * length - 1 + bias)


def loop_scatter(scalars, x, weight, bias=None, *, case):
    """Transposed convolution of `x`, shaped as the output of `case`, onto an area with its padding around it."""
    zero = scalars.constant(0)
    padded = {}
    image = scalars.array(np.zeros((case.samples, case.channels_in, *case.size)))
    for sample, *output in np.ndindex(case.samples, *case.output_size):
        for channel, target, index in grouped_channels(case):
            for tap in product(*map(range, case.kernel)):
                where, inside = case.position(output, tap)
                pair = (x[sample, channel, *output], weight[channel, index, *tap])
                if inside:
                    image[sample, target, *where] = scalars.accumulate(image[sample, target, *where], [pair])
                else:
                    key = (sample, target, *where)
                    padded[key] = scalars.accumulate(padded.get(key, zero), [pair])
                    scalars.padding_macs += 1
    if bias is not None:
        for place in np.ndindex(image.shape):
            image[place] = image[place] + bias[place[1]]
    return image


@deterministic
@given(case=cases(), bias=st.booleans())
def test_transposed_convolution(proves, case, bias) -> None:
    _, weight, x = case.arrays()
    shift = torch.linspace(-1, 1, case.channels_in, dtype=torch.float64) if bias else None
    smallest = [
        (o - 1) * s + d * (k - 1) + 1 - 2 * p
        for o, s, d, k, p in zip(case.output_size, case.stride, case.dilation, case.kernel, case.padding, strict=True)
    ]
    rest = tuple(n - m for n, m in zip(case.size, smallest, strict=True))
    # What torch can express: the part of the image no window reaches must be smaller than a stride or a dilation.
    assume(all(0 <= r < max(s, d) for r, s, d in zip(rest, case.stride, case.dilation, strict=True)))
    expected = TRANSPOSED[case.axes](x, weight, shift, output_padding=rest, **case.options)
    arrays = (x, weight, shift) if bias else (x, weight)
    proves(transposed_convolution(case.sizes, bias=bias), loop_scatter, *arrays, case=case, equals=expected)


def loop_weight_gradient(scalars, x, grad, *, case):
    zero = scalars.constant(0)
    outs, ins = case.channels_out // case.groups, case.channels_in // case.groups
    result = np.empty((case.channels_out, ins, *case.kernel), object)
    for channel, i, *tap in np.ndindex(result.shape):
        pairs = []
        for sample, *output in np.ndindex(case.samples, *case.output_size):
            where, inside = case.position(output, tap)
            value = x[sample, channel // outs * ins + i, *where] if inside else zero
            pairs.append((value, grad[sample, channel, *output]))
            scalars.padding_macs += not inside
        result[channel, i, *tap] = scalars.accumulate(None, pairs)
    return result


def loop_bias_gradient(scalars, grad):
    return [scalars.add_up(grad[:, channel].flatten()) for channel in range(grad.shape[1])]


@deterministic
@given(case=cases())
def test_gradients(proves, case) -> None:
    x, weight, grad = case.arrays()
    bias = torch.zeros(case.channels_out, dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    y = FORWARD[case.axes](*leaves, **case.options)
    of_x, of_weight, of_bias = torch.autograd.grad(y, leaves, grad)
    x, weight = x.detach(), weight.detach()
    proves(transposed_convolution(case.sizes, bias=False), loop_scatter, grad, weight, case=case, equals=of_x)
    proves(convolution_weight_gradient(case.sizes), loop_weight_gradient, x, grad, case=case, equals=of_weight)
    elements = grad.numel() // case.channels_out
    proves(bias_gradient(case.channels_out, elements), loop_bias_gradient, grad, equals=of_bias)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 12),
    stride=st.integers(1, 5),
    before=st.integers(0, 15),
    after=st.integers(0, 15),
    dilation=st.integers(1, 4),
)
def test_taps_of_one_axis_are_those_a_loop_finds(size, kernel, stride, before, after, dilation) -> None:
    window = Window(size, kernel, stride, before, after, dilation)
    reach = dilation * (kernel - 1) + 1
    starts = range(-before, size + after - reach + 1, stride)
    assert max(window.outputs, 0) == len(starts)
    assume(len(starts) > 0)
    inside = sum(0 <= start + tap * dilation < size for start in starts for tap in range(kernel))
    assert window.taps_inside == inside
