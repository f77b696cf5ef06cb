"""The cells of the tables: one row of plain values per layer, and the total they add up to.

What could not be counted is no zero: a row of which nothing is known has empty cells.
"""

from __future__ import annotations

from deepspeech2.flops.operations import KINDS, Number, OperationCount
from deepspeech2.flops.tally import Layer
from deepspeech2.report.document import Report
from deepspeech2.report.hardware import LeastTime

CALL_COLUMNS = ("times", "unknown_calls")
TIME_COLUMNS = ("bytes", "least_seconds", "bound")
COLUMNS = ("layer", "operator", "phase", "output_shape", "parameters", "macs", "padding_macs", "operations", "share")


def row_cells(report: Report, row: Layer, time: LeastTime | None = None) -> dict[str, str | int]:
    """Plain values of one row, by column; `time` is its least time where a hardware was asked about."""
    names: dict[str, str | int] = {"layer": row.name, "operator": row.operator, "phase": row.phase}
    names["output_shape"] = shape_cell(row)
    amounts = _amounts(report, row.parameters, row.own)
    if is_unknown(row):
        amounts = {name: value if name == "parameters" else "" for name, value in amounts.items()}
    calls: dict[str, str | int] = {"times": row.times or "", "unknown_calls": row.unknown_calls}
    moved = row.bytes_read + row.bytes_written
    return names | amounts | calls | _time_cells(moved, time)


def shape_cell(row: Layer) -> str:
    """The shape of the results, or `various` where they are of several."""
    return "various" if row.shapes_differ else "x".join(map(str, row.output_shape))


def is_unknown(row: Layer) -> bool:
    """Whether a row was called and nothing of it could be counted."""
    return bool(row.unknown_calls) and not row.own


def rows_of_cells(report: Report) -> list[dict[str, str | int]]:
    """All rows and the total."""
    return [*(row_cells(report, row, time) for row, time in report.timed_rows), total_cells(report)]


def total_cells(report: Report) -> dict[str, str | int]:
    """Plain values of the total, by column; each number is the sum of its column."""
    names: dict[str, str | int] = {"layer": "total", "operator": "", "phase": "", "output_shape": ""}
    moved = report.tally.bytes_read + report.tally.bytes_written
    time = None if report.hardware is None else report.least_time
    unknown = sum(row.unknown_calls for row in report.rows)
    calls: dict[str, str | int] = {"times": "", "unknown_calls": unknown}
    return names | _amounts(report, report.tally.parameters, report.total) | calls | _time_cells(moved, time)


def _time_cells(moved: Number, time: LeastTime | None) -> dict[str, str | int]:
    """What a hardware adds; nothing where none was asked about."""
    if time is None:
        return {}
    assert isinstance(moved, int)
    return {"bytes": moved, "least_seconds": f"{time.seconds:.9g}", "bound": time.bound}


def _amounts(report: Report, parameters: int, count: OperationCount) -> dict[str, str | int]:
    head = report.headline(report.total)
    share = report.headline(count) / head if head else 0.0
    amounts = {name: amount for name, amount in count.kinds.items() if isinstance(amount, int)}
    assert isinstance(count.macs, int)
    assert isinstance(count.padding_macs, int)
    return {
        "parameters": parameters,
        "macs": count.macs,
        "padding_macs": count.padding_macs,
        "operations": report.headline(count),
        "share": f"{share:.6f}",
        **amounts,
    }


ALL_COLUMNS = (*COLUMNS, *KINDS, *CALL_COLUMNS)
