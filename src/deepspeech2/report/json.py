"""The report as JSON, for programs."""

from __future__ import annotations

import json
from typing import Any

from deepspeech2.flops.operations import OperationCount
from deepspeech2.flops.tally import Layer
from deepspeech2.report.document import Report
from deepspeech2.report.hardware import LeastTime


def render_json(report: Report) -> str:
    """The report as one JSON object; the `own` counts of `layers` add up to `total`.

    `total.flops` and `total.macs` are in the `standard` and `mac` conventions whatever the headline's convention is.
    """
    return json.dumps(to_document(report), indent=2)


def to_document(report: Report) -> dict[str, Any]:
    """The JSON object as Python containers."""
    seconds = report.input.seconds
    head = report.headline(report.total)
    return {
        "model": report.model,
        "input": {
            "seconds": seconds,
            "frames": report.input.frames,
            "batch": report.input.batch,
            "shapes": [list(shape) for shape in report.input.shapes],
        },
        "convention": report.convention,
        "headline": head,
        "headline_per_second": head / (seconds * (report.input.batch or 1)) if seconds else None,
        "total": _amounts(report.total),
        "parameters": report.tally.parameters,
        "memory": _memory(report),
        "stages": {name: _amounts(count) for name, count in report.stages.items()},
        "feature_steps": {name: _amounts(count) for name, count in report.features.items()},
        **_hardware(report),
        "layers": [_row(report, row, time) for row, time in report.timed_rows],
        "complete": report.tally.complete,
        "unknown": [
            {"operator": one.operator, "calls": one.calls, "sites": list(one.sites), "reason": one.reason}
            for one in report.tally.unknown
        ],
        "notes": list(report.tally.notes),
    }


def _memory(report: Report) -> dict[str, Any]:
    """Bytes: traffic operator by operator, what is alive at once, and operations per byte moved."""
    read, written = report.tally.bytes_read, report.tally.bytes_written
    live = report.tally.memory
    return {
        "bytes_read": read,
        "bytes_written": written,
        "flops_per_byte": report.total.total / (read + written) if read + written else None,
        "live": None if live is None else {**live.to_dict(), "total": live.total},
    }


def _hardware(report: Report) -> dict[str, Any]:
    """The least time on the hardware that was asked about, in seconds; nothing where none was."""
    if report.hardware is None:
        return {}
    return {
        "hardware": {
            "peak": report.hardware.peak,
            "bandwidth": report.hardware.bandwidth,
            "ridge": report.hardware.ridge,
            **_time(report.least_time),
            "real_time_factor": report.real_time_factor,
        }
    }


def _time(time: LeastTime) -> dict[str, Any]:
    return {
        "least_seconds": time.seconds,
        "compute_bound_seconds": time.compute,
        "memory_bound_seconds": time.memory,
        "bound": time.bound,
    }


def _amounts(count: OperationCount) -> dict[str, Any]:
    return {
        "macs": count.macs,
        "flops": count.total,
        "padding_macs": count.padding_macs,
        "kinds": count.kinds,
        "modelled": count.modelled,
        "integer_operations": count.integer,
        "notebook": count.notebook,
    }


def _row(report: Report, row: Layer, time: LeastTime | None) -> dict[str, Any]:
    head = report.headline(report.total)
    return {
        "name": row.name,
        "operator": row.operator,
        "phase": row.phase,
        "output_shape": list(row.output_shape),
        "parameters": row.parameters,
        "calls": row.calls,
        "times": row.times,
        "shapes_differ": row.shapes_differ,
        "unknown_calls": row.unknown_calls,
        **_amounts(row.own),
        "headline": report.headline(row.own),
        "share": report.headline(row.own) / head if head else 0.0,
        "bytes_read": row.bytes_read,
        "bytes_written": row.bytes_written,
        **({} if time is None else _time(time)),
    }
