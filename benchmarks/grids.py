"""Markdown tables of measurements."""

from __future__ import annotations

from collections.abc import Sequence


def grid(header: Sequence[str], lines: Sequence[Sequence]) -> str:
    """A table whose first column is text and whose others are numbers; None is a dash."""
    marks = ["---", *["--:"] * (len(header) - 1)]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in [header, marks, *lines])


def _cell(value) -> str:
    if value is None:
        return "–"
    if isinstance(value, float) and abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
