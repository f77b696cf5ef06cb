"""What is said of audio of which a part is missing."""

from __future__ import annotations


def cut_short(name: str, announced: float, seconds: float) -> str:
    """The line that names a file that ends before its header says.

    Args:
        name: What the audio is called.
        announced: Seconds its header announces.
        seconds: Seconds that are there.
    """
    from deepspeech2.printing import printable

    return (
        f"ds2: {printable(name)}: cut short: {announced:.3f} s are announced and {seconds:.3f} s are there, "
        "which were transcribed"
    )
