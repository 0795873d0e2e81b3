"""The name of the CPU: what a measured rate belongs to."""

from __future__ import annotations

import functools
from contextlib import suppress
from pathlib import Path


@functools.cache
def name() -> str:
    """Name of the CPU's model (`cpu` where the system does not say)."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    import platform

    return platform.processor() or "cpu"
