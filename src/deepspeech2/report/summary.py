"""The lines under the table: totals, kinds, cost per second, padding, shares of the stages, what is unknown."""

from __future__ import annotations

from deepspeech2.flops.conventions import CONVENTIONS, UNITS, headline
from deepspeech2.report.document import Report
from deepspeech2.units import format_bytes, format_count, format_duration, format_seconds, format_share


def title(report: Report) -> str:
    """One line: the model and what it was counted for; empty where nobody said."""
    given = report.input
    parts = []
    if given.seconds is not None:
        parts.append(f"{given.seconds:.3f} s of audio" if given.seconds < 60 else format_seconds(given.seconds))
    if given.frames is not None:
        parts.append(f"{given.frames} frames")
    if given.frames is None and given.shapes:
        parts.append("inputs " + ", ".join("x".join(map(str, shape)) or "scalar" for shape in given.shapes))
    if given.batch is not None:
        parts.append(f"batch {given.batch}")
    return ": ".join(part for part in (report.model, ", ".join(parts)) if part)


def summary_lines(report: Report) -> list[tuple[str, str]]:
    """Label and value of each line."""
    return [
        *_totals(report),
        *_padding(report),
        *_stages(report),
        ("parameters", f"{report.tally.parameters:,}"),
        ("memory traffic", _traffic(report)),
        *_peak(report),
        *_least_time(report),
        *_unknown(report),
        *(("note", note) for note in report.tally.notes),
    ]


def _totals(report: Report) -> list[tuple[str, str]]:
    head = report.headline(report.total)
    lines = [("total", report.bound(f"{format_count(head, report.unit)} ({head:,}), convention {report.convention}"))]
    if report.input.seconds:
        per_second = head / (report.input.seconds * (report.input.batch or 1))
        lines.append(("per second of audio", report.bound(format_count(per_second, report.unit))))
    others = [name for name in CONVENTIONS if name != report.convention]
    amounts = {name: format_count(float(headline(report.total, name)), UNITS[name]) for name in others}
    figures = [f"{name} {report.bound(amount)}" for name, amount in amounts.items()]
    lines.append(("other conventions", ", ".join(figures)))
    counted = {name: format_count(float(amount)) for name, amount in report.total.kinds.items() if amount}
    kinds = [f"{name} {report.bound(amount)}" for name, amount in counted.items()]
    lines.append(("kinds", ", ".join(kinds) or "none"))
    phases = dict.fromkeys(row.phase for row in report.rows)
    if len(phases) > 1:
        sums = {name: format_count(report.headline(report.tally.phase(name)), report.unit) for name in phases}
        figures = [f"{name} {report.bound(amount)}" for name, amount in sums.items()]
        lines.append(("phases", ", ".join(figures)))
    return lines


def _padding(report: Report) -> list[tuple[str, str]]:
    macs, padding = report.total.macs, report.total.padding_macs
    if not padding:
        return []
    share = format_share(float(padding), float(macs))
    dense, inside = (report.bound(format_count(float(amount), "MAC")) for amount in (macs, macs - padding))
    return [
        ("zero padding", f"{dense} with taps on padding ({macs:,}), {inside} without ({macs - padding:,}): {share}")
    ]


def _stages(report: Report) -> list[tuple[str, str]]:
    stages = report.stages
    if len(stages) < 2:
        return []
    whole = float(sum(count.total for count in stages.values()))
    parts = []
    for name, count in stages.items():
        modelled = f", {format_count(float(count.modelled))} of it a model of the FFT" if count.modelled else ""
        share = format_share(float(count.total), whole)
        parts.append(f"{name} {share} ({report.bound(format_count(float(count.total), 'FLOP'))}{modelled})")
    label = "stages" if "features" not in stages else "stages, features included"
    return [(label, "; ".join(parts))]


def _traffic(report: Report) -> str:
    read, written = float(report.tally.bytes_read), float(report.tally.bytes_written)
    moved = read + written
    intensity = f", {report.bound(f'{float(report.total.total) / moved:.1f}')} FLOP per byte" if moved else ""
    return (
        f"{format_bytes(read)} read, {format_bytes(written)} written, operator by operator without a cache{intensity}"
    )


def _peak(report: Report) -> list[tuple[str, str]]:
    memory = report.tally.memory
    if memory is None:
        return []
    where = f"at {memory.peak_operator} in {memory.peak_layer}" if memory.peak_layer else f"at {memory.peak_operator}"
    made = f"{format_bytes(memory.peak)} of activations alive at once"
    if memory.gradients:
        made = f"{format_bytes(memory.peak)} of activations and gradients alive at once"
    given = [
        f"{format_bytes(size)} of {name}"
        for name, size in (
            ("parameters", memory.parameters),
            ("buffers", memory.buffers),
            ("inputs", memory.inputs),
            ("optimiser state", memory.optimiser),
        )
        if size
    ]
    together = f"; with {', '.join(given)}: {format_bytes(memory.total)}" if given else ""
    return [("peak memory", f"{made} ({where}){together}; kernels' workspace not included")]


def _least_time(report: Report) -> list[tuple[str, str]]:
    if report.hardware is None:
        return []
    hardware, time = report.hardware, report.least_time
    rates = f"{format_count(hardware.peak, 'FLOP/s')} and {format_count(hardware.bandwidth, 'B/s')}"
    parts = f"{format_duration(time.compute)} bound by compute, {format_duration(time.memory)} by memory"
    lines = [
        (
            "least time",
            f"{report.bound(format_duration(time.seconds))} at {rates}, row after row: {parts} (below "
            f"{hardware.ridge:.1f} FLOP per byte); a recurrence reads its weights once",
        )
    ]
    if report.real_time_factor is not None:
        lines.append(("real-time factor", f"{report.real_time_factor:.4g} at best"))
    return lines


def _unknown(report: Report) -> list[tuple[str, str]]:
    return [
        ("not counted", f"{one.operator} ({one.reason}), {_calls(one.calls)}, at {', '.join(one.sites[:3])}")
        for one in report.tally.unknown
    ]


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number:,} calls"
