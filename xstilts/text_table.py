"""A table as aligned plain text."""

from __future__ import annotations


def table(title: str, head: list[str], rows: list[list[str]], count: bool = True) -> str:
    """Rows of text in aligned columns under a title (with the number of rows) and a head."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    return "\n".join([f"{title} ({len(rows)})" if count else title, lines[0], "-" * len(lines[0]), *lines[1:]])
