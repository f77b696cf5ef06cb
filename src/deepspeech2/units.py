"""The only place that turns numbers into text: counts, bytes, seconds, shares."""

from __future__ import annotations

_DECIMAL_PREFIXES = ("", "K", "M", "G", "T", "P", "E")
_BINARY_PREFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi")


def _scaled(value: float, base: int, prefixes: tuple[str, ...]) -> tuple[float, str]:
    scaled, index = float(value), 0
    # 999.995 would print as 1000.00, so the step up happens at the rounded value.
    while abs(round(scaled, 2)) >= base and index < len(prefixes) - 1:
        scaled /= base
        index += 1
    return scaled, prefixes[index]


def format_count(count: float, unit: str = "") -> str:
    """Format a count with two decimals and K, M, G, T, P or E; whole numbers below 1000 stay whole.

    >>> format_count(7907668416, "FLOP")
    '7.91 GFLOP'
    >>> format_count(999)
    '999'
    >>> format_count(1000, "MAC")
    '1.00 KMAC'
    """
    scaled, prefix = _scaled(count, 1000, _DECIMAL_PREFIXES)
    number = f"{int(count)}" if not prefix and count == int(count) else f"{scaled:.2f}"
    return f"{number} {prefix}{unit}".rstrip()


def format_bytes(count: float) -> str:
    """Format a number of bytes in binary units.

    >>> format_bytes(4 * 2**20)
    '4.0 MiB'
    """
    scaled, prefix = _scaled(count, 1024, _BINARY_PREFIXES)
    return f"{scaled:.0f} B" if not prefix else f"{scaled:.1f} {prefix}B"


def format_seconds(seconds: float) -> str:
    """Format a duration: milliseconds below a tenth of a second, h:mm:ss from a minute on.

    >>> format_seconds(10)
    '10.0 s'
    >>> format_seconds(0.0125)
    '12.5 ms'
    >>> format_seconds(3661)
    '1:01:01'
    """
    if seconds < 0.1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_duration(seconds: float) -> str:
    """Format a duration of any size with three digits, from nanoseconds on; from a minute on as h:mm:ss.

    >>> format_duration(0.0000123)
    '12.3 us'
    >>> format_duration(1.5)
    '1.5 s'
    """
    if seconds >= 60:
        return format_seconds(seconds)
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if round(seconds * scale, 2) >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def format_share(part: float, whole: float) -> str:
    """Format a part of a whole as a percentage with two decimals; a dash when the whole is zero.

    >>> format_share(1, 3)
    '33.33%'
    """
    return f"{100 * part / whole:.2f}%" if whole else "-"
