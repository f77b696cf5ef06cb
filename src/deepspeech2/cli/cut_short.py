"""What is said of audio of which a part is missing."""

from __future__ import annotations


def cut_short(name: str, announced: float, seconds: float) -> str:
    """The line that names a file that ends before its header says.

    Args:
        name: What the audio is called.
        announced: Seconds its header announces; as many as are there where it is known only that some are missing.
        seconds: Seconds that are there.
    """
    from deepspeech2.printing import printable

    there = f"{seconds:.3f} s"
    missing = f"{announced:.3f} s are announced and" if f"{announced:.3f} s" != there else "it ends within a page, and"
    return f"ds2: {printable(name)}: cut short: {missing} {there} are there, which were transcribed"
