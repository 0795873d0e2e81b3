"""cost.csv: what each job took. The only table with timings: it differs between two equal runs.

One row a job; then one row a stage, all its jobs (model `all`), and one of everything (stage `total`). Sums are of the
jobs' seconds: jobs that ran beside each other took less time together. `device_hours` are a job's seconds times its
devices; `devices` of a sum are the most that one job took. `tokens_per_s` of a job is taken over the time
in which it read tokens, start-up left out, that of a stage likewise; a total of unlike work has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from xstilts.analysis.load import intermediate_records, training_records
from xstilts.analysis.tables import COLUMNS
from xstilts.files import read_json

STAGES = ("intermediate", "target", "evaluate", "retrieval", "attack", "transfer")
ALL, TOTAL = "all", "total"


def rows(spec: dict, results: Path) -> list[dict]:
    """Trainings from their train.json, the other stages from cost/**.json; stages in the order they run; then sums."""
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
    jobs = [_job({column: _number(row.get(column)) for column in COLUMNS["cost"]}) for row in found]
    stages = dict.fromkeys(row["stage"] for row in jobs)
    sums = [total([row for row in jobs if row["stage"] == stage], stage) for stage in stages]
    return [*jobs, *sums, *([total(jobs, TOTAL)] if jobs else [])]


def total(jobs: Iterable[dict], stage: str) -> dict:
    """Rows of jobs as one: seconds and tokens add up, memory is the largest, devices are listed."""
    jobs, row = list(jobs), dict.fromkeys(COLUMNS["cost"], "")
    reading = sum(job["tokens"] / job["tokens_per_s"] for job in jobs if job["tokens"] and job["tokens_per_s"])
    tokens = sum(job["tokens"] or 0 for job in jobs)
    row |= {"stage": stage, "model": ALL, "device": ", ".join(sorted({job["device"] for job in jobs if job["device"]}))}
    row |= {"seconds": round(float(sum(job["seconds"] or 0 for job in jobs)), 1), "tokens": tokens}
    row |= {"devices": max((job["devices"] for job in jobs), default=1)}
    row |= {"device_hours": float(sum(job["device_hours"] for job in jobs))}
    row["tokens_per_s"] = round(tokens / reading, 1) if reading and stage != TOTAL else ""
    return {**row, "peak_memory_mb": max((job["peak_memory_mb"] or 0 for job in jobs), default=0)}


def is_sum(row: dict) -> bool:
    """Whether a row of cost.csv is a sum of others."""
    return row["model"] == ALL


def _job(row: dict) -> dict:
    """With its devices (records of older versions: one) and device hours."""
    devices = row["devices"] or 1
    return {**row, "devices": devices, "device_hours": (row["seconds"] or 0.0) * devices / 3600}


def _number(value):
    return value if not isinstance(value, list | dict) else ""
