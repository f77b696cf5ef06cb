"""The report as a table for a terminal."""

from __future__ import annotations

import io
import shutil

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from deepspeech2.errors import InputError, OptionError
from deepspeech2.flops.conventions import known_convention
from deepspeech2.flops.operations import Number
from deepspeech2.flops.tally import Layer, Tally
from deepspeech2.report.cells import is_unknown, shape_cell
from deepspeech2.report.document import CountedInput, Report
from deepspeech2.report.hardware import LeastTime
from deepspeech2.report.summary import summary_lines, title
from deepspeech2.units import format_count, format_duration, format_share

_LEAST_WIDTH = 110
_UNBOUNDED = 10_000
# A row that only moves bytes is shown where it takes more than this share of the least time.
_LEAST_TIME_SHOWN = 0.0005


def render_table(
    tally: Tally,
    *,
    convention: str = "standard",
    depth: int | None = None,
    colour: bool = False,
    width: int | None = None,
) -> str:
    """A tally as the table `ds2 flops` prints: a row for each layer, the totals, and what is not counted.

    Args:
        tally: what `count` or `count_training` returned, or a formula's `tally_at`.
        convention: of the headline: `standard`, `gemm`, `mac` or `notebook`.
        depth: rows below this depth are summed into their parent; None shows all.
        colour: emphasise with terminal colours.
        width: columns to use; None for the terminal's, and more where the table takes more.

    Raises:
        InputError: it is no tally, or one in symbols.
        OptionError: there is no such convention, or no such depth.

    Example:
        >>> import torch
        >>> from deepspeech2 import count, render_table
        >>> tally = count(torch.nn.Linear(10, 3), torch.empty(2, 10))
        >>> for line in render_table(tally).splitlines()[:3]:
        ...     print(line)
        layer   operator  output shape  parameters  MACs  FLOP    share
        Linear  linear    2x3                   33    60   120  100.00%
        total                                   33    60   120  100.00%
    """
    if not isinstance(tally, Tally):
        raise InputError(f"expected a tally, as count returns it, found {type(tally).__name__}")
    if not all(isinstance(amount, int) for amount in tally.count):
        raise InputError("this tally is a formula; a table has numbers: formula.tally_at gives those of a size")
    if depth is not None and depth < 1:
        raise OptionError(f"a table has a depth of at least 1, found {depth}")
    known_convention(convention)
    report = Report("", CountedInput(None, None, None), tally, convention=convention, depth=depth)
    return render_report(report, colour=colour, width=width)


def render_report(report: Report, *, colour: bool = False, width: int | None = None) -> str:
    """The table of a report as text, rows without arithmetic and parameters left out and mentioned.

    What is not counted is a `?`, and a sum it belongs to a lower bound, `>=`. `x7` behind an operator is seven calls.

    Args:
        report: what to show.
        colour: emphasise with terminal colours.
        width: columns of the terminal; found out when None, and at least 110 and what the table takes, so that
            names and numbers stay whole.
    """
    columns = width or max(_LEAST_WIDTH, shutil.get_terminal_size((_LEAST_WIDTH, 24)).columns)
    least = _LEAST_TIME_SHOWN * report.least_time.seconds
    shown = [
        (row, time)
        for row, time in report.timed_rows
        if row.own.total or row.own.macs or row.parameters or row.unknown_calls or (time and time.seconds > least)
    ]
    table = _table(report, shown)
    if width is None:
        unbounded = Console(file=io.StringIO(), width=_UNBOUNDED)
        # A table of one column too few would cut numbers off.
        columns = max(columns, Measurement.get(unbounded, unbounded.options, table).maximum)
    console = Console(file=io.StringIO(), force_terminal=colour, width=columns, highlight=False)
    console.print(table)
    hidden = len(report.rows) - len(shown)
    if hidden:
        rows = "1 row computes" if hidden == 1 else f"{hidden} rows compute"
        verb = "is" if hidden == 1 else "are"
        console.print(f"{rows} nothing in floating point (masks, copies, lengths) and {verb} not shown.")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in summary_lines(report):
        grid.add_row(label, value)
    console.print()
    console.print(grid)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _table(report: Report, rows: list[tuple[Layer, LeastTime | None]]) -> Table:
    table = Table(title=title(report) or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    phases = len({row.phase for row, _ in rows}) > 1
    table.add_column("layer", no_wrap=True)
    if phases:
        table.add_column("phase", no_wrap=True)
    table.add_column("operator", no_wrap=True)
    table.add_column("output shape", no_wrap=True)
    # In MACs the headline is the column before it.
    headings = ["parameters", "MACs", *([report.unit] if report.unit != "MAC" else []), "share"]
    for name in headings:
        table.add_column(name, justify="right", no_wrap=True)
    if report.hardware is not None:
        table.add_column("FLOP/byte", justify="right", no_wrap=True)
        table.add_column("least time", justify="right", no_wrap=True)
        table.add_column("bound", no_wrap=True)
    whole = report.headline(report.total)
    for row, time in rows:
        times = _time_cells(row.own.total, row.bytes_read + row.bytes_written, time)
        times = _at_least(times, unknown=is_unknown(row)) if row.unknown_calls else times
        figures = [f"{row.parameters:,}" if row.parameters else "", *_figures(report, row, whole), *times]
        operator = f"{row.operator} x{row.times}" if row.times > 1 else row.operator
        table.add_row(row.name, *([row.phase] if phases else []), operator, shape_cell(row), *figures)
    amounts = [float(report.total.macs), *([whole] if report.unit != "MAC" else [])]
    totals = [f"{report.tally.parameters:,}", *(report.bound(format_count(amount)) for amount in amounts), "100.00%"]
    moved = report.tally.bytes_read + report.tally.bytes_written
    times = _time_cells(report.total.total, moved, report.least_time if report.hardware else None)
    totals += times if report.tally.complete else _at_least(times)
    table.add_section()
    table.add_row("total", *([""] if phases else []), "", "", *totals, style="bold")
    return table


def _figures(report: Report, row: Layer, whole: int) -> list[str]:
    """MACs, the headline where it is another, and the share of a row; `?` for what is not counted."""
    head = report.headline(row.own)
    amounts = [float(row.own.macs), *([head] if report.unit != "MAC" else [])]
    if is_unknown(row):
        return ["?" for _ in (*amounts, head)]
    bound = ">= " if row.unknown_calls else ""
    figures = [f"{bound}{format_count(amount)}" if amount or bound else "" for amount in amounts]
    return [*figures, format_share(head, whole) if head else ""]


def _at_least(times: list[str], *, unknown: bool = False) -> list[str]:
    """The same cells of a row of which not everything is counted: operations may take longer than its bytes do."""
    if not times:
        return []
    intensity, least, _ = times
    return ["?" if unknown else f">= {intensity}", f">= {least}", "?"]


def _time_cells(operations: Number, moved: Number, time: LeastTime | None) -> list[str]:
    """Operations per byte, least time and its bound; nothing where no hardware was asked about."""
    if time is None:
        return []
    intensity = f"{float(operations) / float(moved):.1f}" if moved else ""
    return [intensity, format_duration(time.seconds), time.bound]
