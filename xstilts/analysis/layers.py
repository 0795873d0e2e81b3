"""retrieval.csv: scores of sentence retrieval by layer and direction, of every cell that has a layers file."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from xstilts import paths
from xstilts.analysis import load
from xstilts.files import read_jsonl

POOLED = ("target", "split", "direction", "layer", "rule", "metric")  # what a `mean` row is the mean over languages of


def rows(spec: dict, results: Path) -> list[dict]:
    """One row a language of each job's layers file (`paths.LAYERS`), then rows of language `mean`.

    Keys: model, intermediate, seed, target, language, split, direction, layer, rule, metric, value (0-100), n; n of a
    mean is the sum over its languages. A cell without a file is left out.
    """
    result = []
    for cell in spec["cells"]:
        names = {key: cell[key] for key in ("model", "intermediate", "seed")}
        path = load.inside(results, paths.LAYERS, **names)
        if not path.is_file():
            continue
        groups: dict[tuple, list[dict]] = {}
        for row in read_jsonl(path):
            result.append({**names, **row})
            groups.setdefault(tuple(row[key] for key in POOLED), []).append(row)
        for key, group in groups.items():
            value, n = fmean(row["value"] for row in group), sum(row["n"] for row in group)
            result.append({**names, **dict(zip(POOLED, key, strict=True)), "language": "mean", "value": value, "n": n})
    return result
