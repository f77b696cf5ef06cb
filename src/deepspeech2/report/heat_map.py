"""Draws a heat map as SVG, a picture every browser shows, from cells that may be of different sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

PLOT_WIDTH, PLOT_HEIGHT = 720.0, 420.0
LEFT, TOP, RIGHT, BOTTOM = 80.0, 60.0, 40.0, 70.0
# Low values light, high ones dark: the order shows in grey as well.
COLOURS = ((255, 247, 188), (254, 196, 79), (236, 112, 20), (153, 52, 4), (64, 20, 4))


@dataclass(frozen=True, slots=True)
class Cell:
    """One rectangle.

    Attributes:
        x: Its centre.
        y: Its centre.
        width: In units of x.
        height: In units of y.
        value: What its colour shows.
    """

    x: float
    y: float
    width: float
    height: float
    value: float


@dataclass(frozen=True, slots=True)
class HeatMapLabels:
    """The words of a picture.

    Attributes:
        title: Above it.
        x: Name of the horizontal axis.
        y: Name of the vertical axis.
        unit: Behind each value where it is pointed at.
    """

    title: str
    x: str
    y: str
    unit: str = ""


def render_heat_map(cells: Sequence[Cell], best: tuple[float, float], labels: HeatMapLabels) -> str:
    """Draw the cells, large ones first, each with its value.

    Args:
        cells: At least one cell.
        best: The point to frame, in the size of the smallest cell: a large one may be covered in part.
        labels: Title and names.

    Returns:
        The SVG document.
    """
    left = min(cell.x - cell.width / 2 for cell in cells)
    right = max(cell.x + cell.width / 2 for cell in cells)
    low = min(cell.y - cell.height / 2 for cell in cells)
    high = max(cell.y + cell.height / 2 for cell in cells)
    across, down = PLOT_WIDTH / (right - left), PLOT_HEIGHT / (high - low)
    values = [cell.value for cell in cells]

    def box(cell: Cell) -> tuple[float, float, float, float]:
        x = LEFT + (cell.x - cell.width / 2 - left) * across
        y = TOP + (high - cell.y - cell.height / 2) * down
        return x, y, cell.width * across, cell.height * down

    width, height = LEFT + PLOT_WIDTH + RIGHT, TOP + PLOT_HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
        _text(LEFT + PLOT_WIDTH / 2, TOP / 2, labels.title, size=16),
        _text(LEFT + PLOT_WIDTH / 2, height - 15, labels.x, size=14),
        f'<g transform="rotate(-90 20 {TOP + PLOT_HEIGHT / 2:g})">'
        f"{_text(20, TOP + PLOT_HEIGHT / 2, labels.y, size=14)}</g>",
    ]
    bounds = min(values), max(values)
    by_size = sorted(cells, key=lambda cell: -cell.width * cell.height)
    parts += [_cell(cell, box(cell), bounds, labels) for cell in by_size]
    smallest = min(cells, key=lambda cell: cell.width * cell.height)
    x, y, box_width, box_height = box(Cell(*best, smallest.width, smallest.height, 0.0))
    parts.append(
        f'<rect class="best" x="{x:.1f}" y="{y:.1f}" width="{box_width:.1f}" height="{box_height:.1f}" '
        'fill="none" stroke="#0b5fa5" stroke-width="3"/>'
    )
    largest = max(cell.width * cell.height for cell in cells)
    coarse = [cell for cell in cells if cell.width * cell.height > largest * 0.99]
    columns, rows = sorted({cell.x for cell in coarse}), sorted({cell.y for cell in coarse})
    parts += [_text(LEFT + (x - left) * across, TOP + PLOT_HEIGHT + 20, f"{x:g}") for x in columns]
    parts += [_text(LEFT - 22, TOP + (high - y) * down, f"{y:g}") for y in rows]
    return "\n".join([*parts, "</svg>", ""])


def _cell(
    cell: Cell, box: tuple[float, float, float, float], bounds: tuple[float, float], labels: HeatMapLabels
) -> str:
    x, y, width, height = box
    span = bounds[1] - bounds[0]
    colour, is_dark = _colour((cell.value - bounds[0]) / span if span else 0.0)
    hint = f"{labels.x} {cell.x:g}, {labels.y} {cell.y:g}: {cell.value:.3f}{labels.unit}"
    size = min(12.0, width / 4, height / 1.5)
    number = _text(x + width / 2, y + height / 2, f"{cell.value:.2f}", size=size, fill="white" if is_dark else "black")
    return (
        f'<g><title>{escape(hint)}</title><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{colour}" stroke="white" stroke-width="0.5"/>'
        f"{number}</g>"
    )


def _colour(share: float) -> tuple[str, bool]:
    place = share * (len(COLOURS) - 1)
    index = min(int(place), len(COLOURS) - 2)
    mixed = [
        round(low + (high - low) * (place - index))
        for low, high in zip(COLOURS[index], COLOURS[index + 1], strict=True)
    ]
    return "#" + "".join(f"{part:02x}" for part in mixed), sum(mixed) < 380


def _text(x: float, y: float, text: str, *, size: float = 12, fill: str = "black") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:.1f}" fill="{fill}" text-anchor="middle" '
        f'dominant-baseline="middle">{escape(text)}</text>'
    )
