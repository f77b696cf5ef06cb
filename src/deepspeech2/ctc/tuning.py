"""Searches the weights of a language model, alpha and beta, that give the fewest word errors.

A coarse grid first; then from its best point the eight neighbours, as long as one is better, and again with half the
step. The best point may so leave the grid. What a point costs is the caller's to say: this file only chooses points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product

from deepspeech2.errors import OptionError

Point = tuple[float, float]
DIGITS = 6  # points are told apart to this many decimals, so that steps added up meet again


@dataclass(frozen=True)
class TuningOptions:
    """Where to search.

    Attributes:
        alpha: First and last alpha of the grid.
        beta: First and last beta of the grid.
        alphas: How many alphas the grid has.
        betas: How many betas the grid has.
        refinements: How many times the step is halved around the best point.
        most_points: When to stop, whatever is left.
    """

    alpha: tuple[float, float] = (1.0, 3.2)
    beta: tuple[float, float] = (0.1, 0.45)
    alphas: int = 5
    betas: int = 4
    refinements: int = 2
    most_points: int = 200

    def __post_init__(self) -> None:
        """Refuse a grid that is none."""
        for name in ("alpha", "beta"):
            first, last = getattr(self, name)
            if not (math.isfinite(first) and math.isfinite(last) and first <= last):
                raise OptionError(f"The range of {name} must be two numbers, the lower first, not {first} {last}.")
        if self.alpha[0] < 0:
            raise OptionError(f"alpha must not be negative, but its range begins at {self.alpha[0]}.")
        for name in ("alphas", "betas", "most_points"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, but is {getattr(self, name)}.")
        if self.refinements < 0:
            raise OptionError(f"refinements must not be negative, but is {self.refinements}.")

    @property
    def steps(self) -> Point:
        """The distance of neighbours in the grid; of a grid of one value the refinement begins with a quarter of it."""
        return _step(self.alpha, self.alphas), _step(self.beta, self.betas)


@dataclass(frozen=True, slots=True)
class TuningResult:
    """One point that was tried.

    Attributes:
        alpha: Weight of the language model.
        beta: Reward per word.
        wer: Word error rate, a fraction.
        cer: Character error rate, a fraction; decides between points of the same word error rate.
    """

    alpha: float
    beta: float
    wer: float
    cer: float

    @property
    def point(self) -> Point:
        """What tells it from others."""
        return _point(self.alpha, self.beta)


def grid(options: TuningOptions) -> list[Point]:
    """List the points of the coarse grid."""
    alphas = _spread(options.alpha, options.alphas)
    betas = _spread(options.beta, options.betas)
    return [_point(alpha, beta) for alpha, beta in product(alphas, betas)]


def level_of(point: Point, options: TuningOptions) -> int:
    """Return how many times the step was halved to reach a point: 0 for the grid itself."""
    steps = options.steps
    starts = (options.alpha[0], options.beta[0])
    for level in range(options.refinements):
        counts = [(value - start) / step * 2**level for value, start, step in zip(point, starts, steps, strict=True)]
        if all(abs(count - round(count)) < 1e-3 for count in counts):
            return level
    return options.refinements


def best_of(results: Iterable[TuningResult]) -> TuningResult:
    """Return the point of the fewest word errors, then character errors, then the smallest weights.

    Raises:
        OptionError: There is no result.
    """
    ranked = sorted(results, key=lambda result: (result.wer, result.cer, result.point))
    if not ranked:
        raise OptionError("No point was tried yet.")
    return ranked[0]


def search(
    evaluate: Callable[[float, float], TuningResult],
    options: TuningOptions | None = None,
    known: Mapping[Point, TuningResult] | None = None,
) -> dict[Point, TuningResult]:
    """Try the grid, then refine around the best.

    Given the same options and what an earlier search found, it makes the same choices without trying a point twice,
    so an interrupted search goes on where it was.

    Args:
        evaluate: Decodes with alpha and beta and says how many errors that makes.
        options: Where to search.
        known: Points tried earlier.

    Returns:
        Every point tried by this search, known ones included.
    """
    options = options or TuningOptions()
    known = known or {}
    tried: dict[Point, TuningResult] = {}

    def visit(points: Iterable[Point]) -> None:
        for point in points:
            if point not in tried and len(tried) < options.most_points:
                tried[point] = known[point] if point in known else evaluate(*point)

    visit(grid(options))
    first, second = options.steps
    for _ in range(options.refinements):
        first, second = first / 2, second / 2
        center = best_of(tried.values()).point
        visit(_neighbours(center, first, second))
        while (better := best_of(tried.values()).point) != center:
            center = better
            visit(_neighbours(center, first, second))
    return tried


def _neighbours(center: Point, first: float, second: float) -> list[Point]:
    alphas = sorted({max(0.0, center[0] + change) for change in (-first, 0.0, first)})
    betas = sorted({center[1] + change for change in (-second, 0.0, second)})
    return [_point(alpha, beta) for alpha, beta in product(alphas, betas)]


def _spread(bounds: Point, count: int) -> list[float]:
    first, last = bounds
    return [first + (last - first) * index / max(count - 1, 1) for index in range(count if first < last else 1)]


def _step(bounds: Point, count: int) -> float:
    first, last = bounds
    return (last - first) / (count - 1) if count > 1 and last > first else max(abs(first), 0.4) / 4


def _point(alpha: float, beta: float) -> Point:
    # + 0.0 turns -0.0 into 0.0: one key for one point.
    return round(alpha, DIGITS) + 0.0, round(beta, DIGITS) + 0.0
