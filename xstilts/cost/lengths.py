"""Tokens of an example: the table lengths.csv, measured by `xstilts.cost.measure`."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("source", "task", "split", "max_length", "examples", "features", "tokens", "squares")
TABLE = Path(__file__).with_name("lengths.csv")


@dataclass(frozen=True)
class Length:
    """Of one example: features (a long text of a question has several), real tokens, squares of sequence lengths."""

    features: float
    tokens: float
    squares: float
    basis: str  # measured, scaled or assumed
    why: str


@functools.cache
def _table() -> list[dict]:
    with open(TABLE, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [{key: value if key in COLUMNS[:3] else int(value) for key, value in row.items()} for row in rows]


def of(task: str, kind: str, split: str, max_length: int, source: str, kinds: dict[str, str]) -> Length | None:
    """The length of a task's examples, from the rows of its own source (`embedded`, or `real` for all others).

    The row of the nearest max_length: measured where that is equal, else scaled. A task without a row has the mean of
    those of its kind (`kinds`: task -> kind): assumed. Lines of masked text are assumed to fill max_length. None where
    there is none either.
    """
    name = "embedded" if source == "embedded" else "real"
    rows = [row for row in _table() if row["source"] == name and row["split"] == split]
    own = [row for row in rows if row["task"] == task]
    if own:
        row = min(own, key=lambda one: abs(one["max_length"] - max_length))
        same = row["max_length"] == max_length
        why = f"{name} {task} {split}, {row['examples']:,} examples"
        return _mean([row], "measured" if same else "scaled", why if same else f"{why} at {row['max_length']}")
    like = [row for row in rows if kinds.get(row["task"]) == kind]
    nearest = min((abs(row["max_length"] - max_length) for row in like), default=None)
    like = [row for row in like if abs(row["max_length"] - max_length) == nearest]
    if not like and kind == "mlm":
        return Length(1.0, max_length, max_length**2, "assumed", f"{task}: every line is as long as max_length allows")
    names = ", ".join(sorted({row["task"] for row in like}))
    return _mean(like, "assumed", f"as {names}, for {task} was not measured") if like else None


def _mean(rows: list[dict], basis: str, why: str) -> Length:
    parts = (sum(row[key] / row["examples"] for row in rows) / len(rows) for key in ("features", "tokens", "squares"))
    return Length(*parts, basis, why)


def kinds(catalog) -> dict[str, str]:
    """Task -> kind, of every task of the catalog."""
    return {name: entry.identity["kind"] for name, entry in catalog.tasks.items()}
