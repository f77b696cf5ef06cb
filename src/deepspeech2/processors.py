"""How many processors there are for this process."""

from __future__ import annotations

import os


def available_processors() -> int:
    """Processors this process may run on, at least 1; a limit of processor time (a container's) is not seen."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
