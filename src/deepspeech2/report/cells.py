"""The cells of the tables: one row of plain values per layer, and the total they add up to."""

from __future__ import annotations

from deepspeech2.flops.operations import KINDS, Number, OperationCount
from deepspeech2.flops.tally import Layer
from deepspeech2.report.document import Report
from deepspeech2.report.hardware import LeastTime

TIME_COLUMNS = ("bytes", "least_seconds", "bound")
COLUMNS = ("layer", "operator", "phase", "output_shape", "parameters", "macs", "padding_macs", "operations", "share")


def row_cells(report: Report, row: Layer, time: LeastTime | None = None) -> dict[str, str | int]:
    """Plain values of one row, by column; `time` is its least time where a hardware was asked about."""
    shape = "x".join(map(str, row.output_shape))
    names: dict[str, str | int] = {"layer": row.name, "operator": row.operator, "phase": row.phase}
    names["output_shape"] = shape
    moved = row.bytes_read + row.bytes_written
    return names | _amounts(report, row.parameters, row.own) | _time_cells(moved, time)


def rows_of_cells(report: Report) -> list[dict[str, str | int]]:
    """All rows and the total."""
    return [*(row_cells(report, row, time) for row, time in report.timed_rows), total_cells(report)]


def total_cells(report: Report) -> dict[str, str | int]:
    """Plain values of the total, by column; each number is the sum of its column."""
    names: dict[str, str | int] = {"layer": "total", "operator": "", "phase": "", "output_shape": ""}
    moved = report.tally.bytes_read + report.tally.bytes_written
    time = None if report.hardware is None else report.least_time
    return names | _amounts(report, report.tally.parameters, report.total) | _time_cells(moved, time)


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


ALL_COLUMNS = (*COLUMNS, *KINDS)
