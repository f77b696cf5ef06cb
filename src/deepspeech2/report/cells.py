"""The cells of the tables: one row of plain values per layer, and the total they add up to."""

from __future__ import annotations

from deepspeech2.flops.operations import KINDS, OperationCount
from deepspeech2.flops.tally import Layer
from deepspeech2.report.document import Report

COLUMNS = ("layer", "operator", "phase", "output_shape", "parameters", "macs", "padding_macs", "operations", "share")


def row_cells(report: Report, row: Layer) -> dict[str, str | int]:
    """Plain values of one row, by column."""
    shape = "x".join(map(str, row.output_shape))
    return {"layer": row.name, "operator": row.operator, "phase": row.phase, "output_shape": shape} | _amounts(
        report, row.parameters, row.own
    )


def total_cells(report: Report) -> dict[str, str | int]:
    """Plain values of the total, by column; each number is the sum of its column."""
    names: dict[str, str | int] = {"layer": "total", "operator": "", "phase": "", "output_shape": ""}
    return names | _amounts(report, report.tally.parameters, report.total)


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
