"""The report as a Markdown table with exact numbers."""

from __future__ import annotations

from collections.abc import Mapping

from deepspeech2.report.cells import COLUMNS, TIME_COLUMNS, rows_of_cells
from deepspeech2.report.document import Report
from deepspeech2.report.summary import summary_lines, title

_TEXT_COLUMNS = 4
_FIGURES = ("macs", "padding_macs", "operations", "share")


def render_markdown(report: Report) -> str:
    """A heading, the table with its total, and the summary as a list; `?` and `>=` where something is not counted."""
    shown = [name for name in COLUMNS if name != "phase" or any(row.phase != "forward" for row in report.rows)]
    shown += TIME_COLUMNS if report.hardware is not None else ()
    align = ["---" if name in (*COLUMNS[:_TEXT_COLUMNS], "bound") else "---:" for name in shown]
    lines = [f"**{title(report)}**", "", _line([name.replace("_", " ") for name in shown]), _line(align)]
    lines += [_line([_cell(name, cells) for name in shown]) for cells in rows_of_cells(report)]
    lines += ["", *(f"- {label}: {value}" for label, value in summary_lines(report))]
    return "\n".join(lines) + "\n"


def _cell(name: str, cells: Mapping[str, str | int]) -> str:
    value, times = cells[name], cells["times"]
    if name in _FIGURES:
        if value == "":
            return "?"
        if name == "share":
            return f"{100 * float(value):.2f}%"
        return f">= {value:,}" if cells["unknown_calls"] else f"{value:,}"
    if name == "operator" and isinstance(times, int) and times > 1:
        return f"{value} x{times}"
    return f"{value:,}" if isinstance(value, int) else value.replace("|", "\\|")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
