"""Sampling by a grid: the formulas equal the algorithm they name, run on counting scalars, and torch's results."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from deepspeech2 import count
from deepspeech2.flops.formulas.resampling import GridSampling, grid_sampling, grid_sampling_gradient
from deepspeech2.flops.operations import OperationCount

SIZES = {2: ((2, 3, 4, 5), (2, 2, 3)), 3: ((2, 2, 3, 4, 3), (2, 2, 1, 2))}


def placed(scalars, coordinate, size):
    """From [-1, 1] to positions between -0.5 and size - 0.5, the factor and the offset being constants."""
    return coordinate * scalars.constant(size / 2) + scalars.constant(size / 2 - 0.5)


def bounded(scalars, u, size, padding):
    """A coordinate brought inside; absolute values, remainders and roundings are counted beside the loops."""
    if padding == "zeros":
        return u
    if padding == "reflection":
        low, span = scalars.constant(-0.5), scalars.constant(size)
        distance = u - low
        distance = distance if float(distance) >= 0 else scalars.constant(-float(distance))
        extra = scalars.constant(math.fmod(float(distance), size))
        flips = math.floor(float(distance / span))
        straight, mirrored = extra + low, scalars.constant(size - 0.5) - extra
        u = straight if flips % 2 == 0 else mirrored
    return min(max(u, scalars.constant(0)), scalars.constant(size - 1))


def outer_weight(scalars, x):
    a = scalars.constant
    return ((a(-0.75) * x - a(-3.75)) * x + a(-6)) * x - a(-3)


def inner_weight(scalars, x):
    a = scalars.constant
    return (a(1.25) * x - a(2.25)) * x * x + a(1)


def cubic_weights(scalars, t):
    one, two = scalars.constant(1), scalars.constant(2)
    return [
        outer_weight(scalars, t + one),
        inner_weight(scalars, t),
        inner_weight(scalars, one - t),
        outer_weight(scalars, two - t),
    ]


def cubic_slopes(scalars, t):
    a, one, two = scalars.constant, scalars.constant(1), scalars.constant(2)
    farthest, near, nearer, far = (scalars.constant(-1) - t), -t, one - t, two - t
    return [
        (a(2.25) * farthest - a(-7.5)) * farthest - a(-6),
        (a(-3.75) * near - a(4.5)) * near,
        (a(3.75) * nearer - a(4.5)) * nearer,
        (a(-2.25) * far - a(-7.5)) * far + a(-6),
    ]


def weights_of(scalars, coordinates, sizes, mode, padding):
    """Per axis the pixels and their weights; for two neighbours also how the weights change."""
    found = []
    for coordinate, size in zip(coordinates, sizes, strict=True):
        u = placed(scalars, coordinate, size)
        if mode == "bicubic":
            first = math.floor(float(u))
            t = u - scalars.constant(first)
            pixels = [scalars.constant(first + step) for step in (-1, 0, 1, 2)]
            pixels = [int(float(bounded(scalars, pixel, size, padding))) for pixel in pixels]
            found.append((pixels, cubic_weights(scalars, t), t))
            continue
        u = bounded(scalars, u, size, padding)
        if mode == "nearest":
            found.append(([round(float(u))], [None], None))
            continue
        first = math.floor(float(u))
        far = u - scalars.constant(first)
        found.append(([first, first + 1], [scalars.constant(1) - far, far], None))
    return found


def value_at(scalars, image, pixels):
    inside = all(0 <= pixel < size for pixel, size in zip(pixels, image.shape, strict=True))
    return image[tuple(pixels)] if inside else scalars.constant(0)


def product(factors):
    result = factors[0]
    for factor in factors[1:]:
        result = result * factor
    return result


def loop_sampling(scalars, image, grid, *, mode, padding):
    samples, channels, *sizes = image.shape
    result = np.empty((samples, channels, *grid.shape[1:-1]), object)
    for n, *place in itertools.product(*map(range, (samples, *grid.shape[1:-1]))):
        axes = weights_of(scalars, grid[(n, *place)][::-1], sizes, mode, padding)
        corners = list(itertools.product(*[range(len(axis[0])) for axis in axes]))
        if mode == "bilinear":
            weights = [product([axis[1][k] for axis, k in zip(axes, corner, strict=True)]) for corner in corners]
        for channel in range(channels):
            plane = image[n, channel]
            read = [
                value_at(scalars, plane, [axis[0][k] for axis, k in zip(axes, corner, strict=True)])
                for corner in corners
            ]
            if mode == "nearest":
                value = read[0]
            elif mode == "bilinear":
                value = scalars.add_up([w * v for w, v in zip(weights, read, strict=True)])
            else:
                rows = [
                    scalars.add_up([w * v for w, v in zip(axes[1][1], read[4 * row : 4 * row + 4], strict=True)])
                    for row in range(4)
                ]
                value = scalars.add_up([w * v for w, v in zip(axes[0][1], rows, strict=True)])
            result[(n, channel, *place)] = value
    return result


def loop_gradient(scalars, image, grid, above, *, mode, padding):
    samples, channels, *sizes = image.shape
    zero = scalars.constant(0)
    to_image, to_grid = np.full(image.shape, zero, object), np.full(grid.shape, zero, object)
    for n, *place in itertools.product(*map(range, (samples, *grid.shape[1:-1]))):
        axes = weights_of(scalars, grid[(n, *place)][::-1], sizes, mode, padding)
        slopes = [cubic_slopes(scalars, axis[2]) for axis in axes] if mode == "bicubic" else None
        corners = list(itertools.product(*[range(len(axis[0])) for axis in axes]))
        if mode == "bilinear":
            weights = [product([axis[1][k] for axis, k in zip(axes, corner, strict=True)]) for corner in corners]
        sums = [zero] * len(axes)
        for channel in range(channels):
            g = above[(n, channel, *place)]
            for index, corner in enumerate(corners):
                pixels = [axis[0][k] for axis, k in zip(axes, corner, strict=True)]
                inside = all(0 <= pixel < size for pixel, size in zip(pixels, sizes, strict=True))
                value = value_at(scalars, image[n, channel], pixels)
                if mode == "nearest":
                    term = g
                elif mode == "bilinear":
                    term = g * weights[index]
                else:
                    term = g * axes[0][1][corner[0]] * axes[1][1][corner[1]]
                cell = (n, channel, *pixels) if inside else None
                total = (to_image[cell] if inside else zero) + term
                if inside:
                    to_image[cell] = total
                for axis in range(len(axes)) if mode != "nearest" else ():
                    others = [axes[other][1][corner[other]] for other in range(len(axes)) if other != axis]
                    if mode == "bicubic":
                        piece = value * slopes[axis][corner[axis]] * others[0] * g
                        sums[axis] = sums[axis] - piece
                    else:
                        # The weight of the near pixel falls, that of the far one rises.
                        piece = product([value, *others, g])
                        sums[axis] = sums[axis] - piece if corner[axis] == 0 else sums[axis] + piece
        for axis, total in enumerate(sums) if mode != "nearest" else ():
            to_grid[(n, *place, len(axes) - 1 - axis)] = total * scalars.constant(sizes[axis] / 2)
    return to_image, to_grid


def beside_the_loops(sizes: GridSampling) -> OperationCount:
    """Roundings, absolute values and remainders of floating point, which the scalars do not count."""
    rounded = 1 + (3 if sizes.padding == "reflection" else 0) * (4 if sizes.mode == "bicubic" else 1)
    return OperationCount(other=rounded * sizes.axes * sizes.positions)


CASES = [
    (axes, mode, padding)
    for axes in (2, 3)
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    if not (axes == 3 and mode == "bicubic")
]


@pytest.mark.parametrize(("axes", "mode", "padding"), CASES)
def test_grid_sampling_and_its_gradient(scalar_run, same_count, axes, mode, padding) -> None:
    shape, places = SIZES[axes]
    torch.manual_seed(axes)
    image = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    spread = 1.4 if padding != "zeros" else 1.1
    grid = ((torch.rand(*places, axes, dtype=torch.float64) * 2 - 1) * spread).requires_grad_()
    sizes = GridSampling(math.prod(places), shape[1], axes, mode, padding)
    options = {"mode": mode, "padding": padding}
    expected = functional.grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=False)
    arrays = [tensor.detach().numpy() for tensor in (image, grid)]

    counted, result = scalar_run(loop_sampling, *arrays, **options)
    same_count(grid_sampling(sizes), counted + beside_the_loops(sizes))
    np.testing.assert_allclose(result.astype(float), expected.detach(), 1e-9, 1e-9)

    above = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (image, grid), above)
    counted, results = scalar_run(loop_gradient, *arrays, above.numpy(), **options)
    same_count(grid_sampling_gradient(sizes, image=True, grid=True), counted + beside_the_loops(sizes))
    np.testing.assert_allclose(results[0].astype(float), wanted[0], 1e-9, 1e-9)
    if padding == "zeros":
        # Elsewhere torch multiplies the grid's gradient by the slope of the bound, 1, 0 or -1: no further operation.
        np.testing.assert_allclose(results[1].astype(float), wanted[1], 1e-9, 1e-9)


def test_only_what_needs_a_gradient_is_paid_for() -> None:
    sizes = GridSampling(10, 3, 2)
    both = grid_sampling_gradient(sizes, image=True, grid=True)
    image = grid_sampling_gradient(sizes, image=True, grid=False)
    assert both.multiply - image.multiply == 10 * 3 * 4 * 4 + 10 * 2


def test_the_operator_reads_sizes_and_options() -> None:
    image, grid = torch.empty(2, 3, 4, 5), torch.empty(2, 6, 7, 2)
    for mode, padding in itertools.product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")):
        tally = count(
            lambda x, g, m=mode, p=padding: functional.grid_sample(x, g, mode=m, padding_mode=p, align_corners=True),
            (image, grid),
            strict=True,
        )
        assert tally.count.kinds == grid_sampling(GridSampling(84, 3, 2, mode, padding)).kinds
