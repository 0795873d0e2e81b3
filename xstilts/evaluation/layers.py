"""Scores of retrieval by layer: the rows of a job's layers file, the choice on dev, and its table in the log.

A row: target, language (not English), split (dev, test), layer (0 = the embeddings' output), rule (sweep: every layer
on dev; preset: test at the preset's layer; dev: test at the layer chosen on dev), direction, metric, value (0-100), n.
Mining: direction both, metric f1, n gold pairs (on dev at the best threshold). Nearest neighbours: en-xx (the official
direction: English queries) and xx-en, metric accuracy, n queries; on dev the gold pairs' sentences are the queries
and all sentences of the other side the database.
"""

from __future__ import annotations

from statistics import fmean

from xstilts.evaluation import retrieval

KEYS = ("target", "language", "split", "direction", "layer", "rule", "metric", "value", "n")


def mined(about: dict, f1: float, pool: retrieval.Pool) -> dict:
    """The row of a mined pool."""
    return about | {"direction": "both", "metric": "f1", "value": f1, "n": len(pool.gold)}


def matched(about: dict, pool: retrieval.Pool, found) -> list[dict]:
    """The rows of nearest neighbours, one a direction."""
    *values, n = retrieval.accuracies(pool, found)
    return [
        about | {"direction": direction, "metric": "accuracy", "value": value, "n": n}
        for direction, value in zip(("en-xx", "xx-en"), values, strict=True)
    ]


def choose(rows: list[dict]) -> int:
    """The layer of one target's sweep with the highest mean over languages, the lowest of equal ones.

    Where both directions are there, the official one decides: English -> other.
    """
    means = {layer: fmean(values.values()) for layer, values in _by_layer(rows).items()}
    return min(means, key=lambda layer: (-means[layer], layer))


def table(rows: list[dict], pools: str, preset: int, chosen: int) -> str:
    """A target's sweep as text: a line a layer, a column a language, the mean, and the marks of preset and choice."""
    by_layer = _by_layer(rows)
    codes = list(dict.fromkeys(row["language"] for row in rows))
    target, metric = rows[0]["target"], rows[0]["metric"]
    what = "F1 at the best threshold" if metric == "f1" else "accuracy of English -> other"
    lines = [f"{target}: {what} on the dev pools of {pools}, by layer"]
    lines.append("layer" + "".join(f"{code:>7}" for code in [*codes, "mean"]))
    for layer, values in by_layer.items():
        marks = [name for name, number in (("preset", preset), ("chosen", chosen)) if number == layer]
        cells = "".join(f"{values[code]:7.1f}" for code in codes)
        lines.append(f"{layer:5d}{cells}{fmean(values.values()):7.1f}  {', '.join(marks)}".rstrip())
    return "\n".join(lines)


def _by_layer(rows: list[dict]) -> dict[int, dict[str, float]]:
    """layer -> language -> value, of mining or of English -> other."""
    result: dict[int, dict[str, float]] = {}
    for row in sorted(rows, key=lambda row: row["layer"]):
        if row["direction"] != "xx-en":
            result.setdefault(row["layer"], {})[row["language"]] = row["value"]
    return result
