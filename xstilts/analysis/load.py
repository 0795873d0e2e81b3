"""Reading a study's results folder: per-example statistics of each cell, training records, prepared examples."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xstilts import paths
from xstilts.evaluation import examples_scores
from xstilts.files import read_json, read_jsonl

Metrics = dict[str, np.ndarray]  # metric -> (n, 1) scores 0-1, or (n, 3) counts correct, predicted, gold


def inside(results: Path, template: str, **wildcards) -> Path:
    """The path of a template of `xstilts.paths` inside one study's results folder."""
    return results / template.removeprefix(paths.RESULTS + "/").format(**wildcards)


@dataclass
class Cells:
    """Per-example statistics: cells[model, intermediate, seed, target, language] -> metrics; what is missing."""

    metrics: dict[tuple[str, str, int, str, str], Metrics] = field(default_factory=dict)
    missing: list[dict] = field(default_factory=list)
    fingerprints: dict[tuple[str, str], str] = field(default_factory=dict)


def load_cells(spec: dict, results: Path) -> Cells:
    """Read every prediction of the spec's cells against the gold files; an absent file is listed, not an error."""
    cells = Cells()
    for cell in spec["cells"]:
        names = {key: cell[key] for key in ("model", "intermediate", "seed")}
        for target in cell["targets"]:
            identity = spec["targets"][target]
            kind = identity["kind"]
            for language in identity["languages"]:
                gold = inside(results, paths.gold(target, kind, language))
                predicted = inside(results, paths.predictions(target, kind, language), **names)
                absent = [path for path in (gold, predicted) if not path.is_file()]
                if absent:
                    file = absent[0].relative_to(results).as_posix()
                    cells.missing.append({**names, "target": target, "language": language, "file": file})
                    continue
                if (target, language) not in cells.fingerprints:
                    texts = inside(results, paths.examples(target, language, "test"))
                    content = texts.read_bytes() if texts.is_file() else b""
                    cells.fingerprints[target, language] = fingerprint(content + gold.read_bytes())
                cells.metrics[*names.values(), target, language] = statistics(spec, target, language, gold, predicted)
    return cells


def statistics(spec: dict, target: str, language: str, gold: Path, predicted: Path) -> Metrics:
    """Per-example statistics of one prediction file (shape of each: see `Metrics`), rows in the gold file's order."""
    identity = spec["targets"][target]
    options = identity.get("options") or {}
    return examples_scores.statistics(target, identity["kind"], options, language, gold, predicted)


def fingerprint(content: bytes) -> str:
    """First 12 hex digits of the SHA-256 of test examples and gold: which data a score was taken on."""
    return hashlib.sha256(content).hexdigest()[:12]


def task_score(metrics: Metrics) -> np.ndarray:
    """The one array that stands for a task: accuracy, F1 counts, or for QA the mean of F1 and exact match.

    The last is how XTREME's evaluate.py forms a QA task's score (commit 838c13b).
    """
    if {"f1", "exact_match"} <= set(metrics):
        return (metrics["f1"] + metrics["exact_match"]) / 2
    (array,) = metrics.values()
    return array


def training_records(spec: dict, results: Path) -> dict[tuple[str, str, int, str], dict]:
    """train.json of each target training: (model, intermediate, seed, training task) -> record."""
    records = {}
    for cell in spec["cells"]:
        names = {key: cell[key] for key in ("model", "intermediate", "seed")}
        for task in dict.fromkeys(spec["targets"][target].get("training_task") for target in cell["targets"]):
            path = inside(results, paths.TARGET["train"], **names, task=task)
            if task and path.is_file():
                records[*names.values(), task] = read_json(path)
    return records


def intermediate_records(spec: dict, results: Path) -> dict[tuple[str, str, int], dict]:
    """train.json of each intermediate training: (model, intermediate, seed) -> record."""
    records = {}
    for cell in spec["cells"]:
        names = {key: cell[key] for key in ("model", "intermediate", "seed")}
        path = inside(results, paths.ENCODER["train"], **names)
        if path.is_file():
            records[tuple(names.values())] = read_json(path)
    return records


def examples(results: Path, task: str, language: str, split: str) -> list[dict] | None:
    """Prepared examples, or None where the file is not there."""
    path = inside(results, paths.examples(task, language, split))
    return read_jsonl(path) if path.is_file() else None
