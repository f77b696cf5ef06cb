"""Sampling an image at positions that a grid gives, and its gradient."""

from __future__ import annotations

from dataclasses import dataclass

from deepspeech2.flops.operations import NOTHING, Number, OperationCount

_Each = OperationCount
# Cubic convolution of t in [0, 1): |x| = t + 1, t, 1 - t, 2 - t, of which the outer two give ((a x - 5a) x + 8a) x - 4a
# and the inner two ((a + 2) x - (a + 3)) x x + 1, constants folded.
CUBIC_WEIGHTS = _Each(multiply=2 * 3 + 2 * 3, add=3 + 2 * 3 + 2 * 2)
# Their derivatives, of -1 - t, -t, 1 - t, 2 - t: outer (b x + c) x + d, inner (b x + c) x.
_CUBIC_SLOPES = _Each(multiply=4 * 2, add=4 + 2 * 2 + 2 * 1)


@dataclass(frozen=True, slots=True)
class GridSampling:
    """Sizes and options of a grid sampling.

    Attributes:
        positions: positions the grid gives, over all samples.
        channels: channels read at each.
        axes: axes of the image, 2 or 3.
        mode: `bilinear` (also for three axes), `nearest` or `bicubic`.
        padding: `zeros`, `border` or `reflection`.
    """

    positions: Number
    channels: Number
    axes: int
    mode: str = "bilinear"
    padding: str = "zeros"

    @property
    def corners(self) -> int:
        """Pixels that give a value: neighbours on both sides of every axis, or four along each."""
        along_an_axis = {"nearest": 1, "bilinear": 2, "bicubic": 4}[self.mode]
        return int(along_an_axis**self.axes)


def grid_sampling(sizes: GridSampling) -> OperationCount:
    """Values of all channels at all positions.

    Algorithm, per position and axis: u = x * scale + offset; with border padding two comparisons, with reflection
    also |u - low|, its remainder and its quotient by the span (a division, rounded down), and the two candidates it
    may stand for. Bilinear: f = u - floor(u) and 1 - f, per corner their product over the axes, per channel the
    weighted sum of the corners. Nearest: u rounded. Bicubic: the four weights of each axis, per channel sums along
    rows, then their sum; padding is then a matter of each of the four coordinates. Whether a coordinate is inside is
    arithmetic on integers.
    """
    per_channel = {
        "nearest": NOTHING,
        "bilinear": _Each(multiply=sizes.corners, add=sizes.corners - 1),
        "bicubic": _Each(multiply=4 * 5, add=3 * 5),
    }[sizes.mode]
    return _weights(sizes) * sizes.positions + per_channel * (sizes.positions * sizes.channels)


def grid_sampling_gradient(sizes: GridSampling, *, image: bool, grid: bool) -> OperationCount:
    """Gradient of `grid_sampling` with respect to the image, the grid, or both; weights are computed again.

    Algorithm: per channel and corner the image receives g * weight (bicubic: g times both weights); per channel,
    corner and axis the grid sums value * g * the weights of the other axes (bicubic: times the slope of its own), a
    product of `axes` factors more, bicubic three; finally once per position and axis times the scale. The nearest
    pixel has no slope.
    """
    per_corner = NOTHING
    if image:
        per_corner = (
            per_corner
            + {
                "nearest": _Each(add=1),
                "bilinear": _Each(multiply=1, add=1),
                "bicubic": _Each(multiply=2, add=1),
            }[sizes.mode]
        )
    per_position = _weights(sizes)
    if grid and sizes.mode != "nearest":
        factors = 3 if sizes.mode == "bicubic" else sizes.axes
        per_corner = per_corner + _Each(multiply=factors, add=1) * sizes.axes
        slopes = _CUBIC_SLOPES if sizes.mode == "bicubic" else NOTHING
        per_position = per_position + (slopes + _Each(multiply=1)) * sizes.axes
    corners = sizes.positions * sizes.channels * sizes.corners
    return per_position * sizes.positions + per_corner * corners


def _weights(sizes: GridSampling) -> OperationCount:
    """Coordinates and weights of one position."""
    padded = {
        "zeros": NOTHING,
        "border": _Each(compare=2),
        "reflection": _Each(add=3, other=3, divide=1, compare=2, integer=1),
    }[sizes.padding]
    placed = _Each(multiply=1, add=1)
    if sizes.mode == "nearest":
        return (placed + padded + _Each(other=1, integer=2)) * sizes.axes
    if sizes.mode == "bicubic":
        return (placed + _Each(other=1, add=1, integer=8) + padded * 4 + CUBIC_WEIGHTS) * sizes.axes
    corners = _Each(multiply=sizes.corners * (sizes.axes - 1))
    return (placed + padded + _Each(other=1, add=2, integer=4)) * sizes.axes + corners
