"""cost.csv: what each job took. The only table with timings: it differs between two equal runs."""

from __future__ import annotations

from pathlib import Path

from xstilts.analysis.load import intermediate_records, training_records
from xstilts.analysis.tables import COLUMNS
from xstilts.files import read_json

STAGES = ("intermediate", "target", "evaluate", "retrieval", "attack")


def rows(spec: dict, results: Path) -> list[dict]:
    """Trainings from their train.json, the other stages from cost/**.json; stages in the order they run."""
    found = []
    for (model, intermediate, seed), record in intermediate_records(spec, results).items():
        found.append({**record, "stage": "intermediate", "model": model, "intermediate": intermediate, "seed": seed,
                      "target": ""})  # fmt: skip
    for (model, intermediate, seed, task), record in training_records(spec, results).items():
        found.append({**record, "stage": "target", "model": model, "intermediate": intermediate, "seed": seed,
                      "target": task})  # fmt: skip
    cells = {(cell["model"], cell["intermediate"], cell["seed"]) for cell in spec["cells"]}
    for path in sorted((results / "cost").rglob("*.json")):
        record = read_json(path)
        # a cell that left the study may have left its files behind
        if tuple(record.get(key) for key in ("model", "intermediate", "seed")) in cells:
            found.append(record)
    place = {stage: number for number, stage in enumerate(STAGES)}
    found.sort(key=lambda row: place.get(row.get("stage"), len(STAGES)))
    return [{column: _number(row.get(column)) for column in COLUMNS["cost"]} for row in found]


def _number(value):
    return value if not isinstance(value, list | dict) else ""
