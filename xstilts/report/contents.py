"""What the report says: a study's tables, looked up by cell, in the order in which everything is shown."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import fmean, stdev

from xstilts.analysis import comparisons, load, outcomes, tables
from xstilts.analysis.context import MODEL
from xstilts.catalog import GROUPS, XTREME
from xstilts.report import style
from xstilts.report.attacks import Attacks

NONE = "none"
ENGLISH = "en"
DAGGER = "†"  # marks an intermediate whose training read test languages


class Contents:
    """Scores, gains, attacks and what is missing of one study; nothing here computes a statistic but mean and sd."""

    def __init__(self, spec: dict, results: Path, catalog):
        self.spec, self.catalog = spec, catalog
        self.tables = {name: tables.read(name, results) for name in tables.COLUMNS}
        self.records = load.training_records(spec, results)
        self.intermediate_records = load.intermediate_records(spec, results)
        self.models = sorted(spec["models"], key=lambda name: spec["models"][name]["non_embedding_parameters"])
        self.intermediates = style.intermediates(dict.fromkeys(cell["intermediate"] for cell in spec["cells"]))
        self.targets = sorted(spec["targets"], key=self._place)
        self.attacked = Attacks(spec, self.tables)
        self.attacks = self.attacked.names
        self.colours = {name: style.MODEL_COLOURS[i % len(style.MODEL_COLOURS)] for i, name in enumerate(self.models)}
        self.markers = {name: style.MARKERS[i % len(style.MARKERS)] for i, name in enumerate(self.intermediates)}
        self.choice = comparisons.chosen(spec, self.records)
        self._scores = self._by_cell()
        self.gains = {
            (row["model"], row["intermediate"], row["target"], row["language"]): row
            for row in self.tables["comparisons"]
            if row["baseline"] == NONE
        }
        self.over_baseline = {
            (row["model"], row["target"], row["language"]): row
            for row in self.tables["comparisons"]
            if row["baseline"] != NONE
        }

    def _by_cell(self) -> dict[tuple, dict[int, float]]:
        """Task score (QA: mean of F1 and exact match) by (model, intermediate, target, language), then seed."""
        found: dict[tuple, dict[int, list[float]]] = {}
        for row in self.tables["scores"]:
            key = (row["model"], row["intermediate"], row["target"], row["language"])
            found.setdefault(key, {}).setdefault(row["seed"], []).append(row["value"])
        return {key: {seed: fmean(values) for seed, values in seeds.items()} for key, seeds in found.items()}

    def _place(self, target: str) -> tuple[int, int]:
        """XTREME's order by group (the order of a spec is that of its sorted JSON)."""
        order = XTREME.index(target) if target in XTREME else len(XTREME)
        return GROUPS.index(self.spec["targets"][target]["group"]), order

    # ---- languages of training
    def foreign(self, intermediate: str) -> list[str]:
        """Languages other than English that the intermediate's training read (variants do; see catalog)."""
        tasks = self.spec["intermediates"].get(intermediate, [])
        codes = dict.fromkeys(code for task in tasks for code in self.spec["train_languages"][task])
        return [code for code in codes if code != ENGLISH]

    def seen(self, intermediate: str, target: str | None = None) -> list[str]:
        """Those of them in which a target (or any) is tested: there transfer is not zero-shot."""
        tested = self.spec["targets"][target]["languages"] if target else self.languages
        return [code for code in self.foreign(intermediate) if code in tested]

    def label(self, intermediate: str, target: str | None = None) -> str:
        """An intermediate's name in a table or figure, with a dagger where it saw languages of the target (or any)."""
        return style.task(intermediate) + (f" {DAGGER}" if self.seen(intermediate, target) else "")

    # ---- scores
    def seeds(self, model: str, intermediate: str, target: str, language: str) -> list[float]:
        """The score of each seed; empty where the cell is missing."""
        return list(self._scores.get((model, intermediate, target, language), {}).values())

    def score(self, model: str, intermediate: str, target: str, language: str) -> float | None:
        """Mean over seeds, or None."""
        values = self.seeds(model, intermediate, target, language)
        return fmean(values) if values else None

    def spread(self, model: str, intermediate: str, target: str, language: str) -> float | None:
        """Standard deviation (n - 1) over seeds, or None with fewer than two."""
        values = self.seeds(model, intermediate, target, language)
        return stdev(values) if len(values) > 1 else None

    def gap(self, model: str, intermediate: str, target: str) -> float | None:
        """English score minus the mean of the others, or None (retrieval has no English of its own)."""
        english, others = (self.score(model, intermediate, target, code) for code in ("en", "mean_non_en"))
        return None if english is None or others is None else english - others

    # ---- shallow baselines
    def shallow_rows(self, task: str) -> list[dict]:
        """Rows of baselines.csv of a target or an intermediate task."""
        return [row for row in self.tables["baselines"] if row["target"] == task]

    def shallow_tasks(self) -> list[str]:
        """Targets and intermediate tasks that have baselines."""
        return list(dict.fromkeys(row["target"] for row in self.tables["baselines"]))

    def shallow_names(self, task: str) -> list[str]:
        """The baselines of a task, in the order of the table."""
        return list(dict.fromkeys(row["baseline"] for row in self.shallow_rows(task)))

    def shallow(self, task: str, language: str, metric: str | None = None) -> dict[str, float]:
        """baseline -> its score: of one metric, or the task score (QA: mean of F1 and exact match)."""
        values: dict[str, list[float]] = {}
        for row in self.shallow_rows(task):
            if row["language"] == language and metric in (None, row["metric"]):
                values.setdefault(row["baseline"], []).append(row["value"])
        return {name: fmean(found) for name, found in values.items()}

    # ---- the grid
    def cells(self) -> list[tuple[str, str]]:
        """(model, intermediate) of the study: models from small to large, intermediates in their fixed order."""
        found = {(cell["model"], cell["intermediate"]) for cell in self.spec["cells"]}
        return [(m, i) for m in self.models for i in self.intermediates if (m, i) in found]

    def mean_gain(self, model: str, intermediate: str) -> float | None:
        """Plain mean of the gains over the study's targets (non-English means); None unless every target is there."""
        rows = [self.gains.get((model, intermediate, target, "mean_non_en")) for target in self.targets]
        return None if any(row is None for row in rows) else fmean(row["gain"] for row in rows)

    @property
    def n_seeds(self) -> int:
        return len({cell["seed"] for cell in self.spec["cells"]})

    def items(self) -> tuple[int, int]:
        """Smallest and largest number of test examples of one language."""
        sizes = [row["n"] for row in self.tables["scores"] if row["language"] in self.languages]
        return (min(sizes), max(sizes)) if sizes else (0, 0)

    @property
    def languages(self) -> list[str]:
        """All languages of the study, English first, then as the targets list them."""
        codes = dict.fromkeys(code for one in self.spec["targets"].values() for code in one["languages"])
        return sorted(codes, key=lambda code: (code != "en", code))

    def missing(self) -> list[dict]:
        """Cells of the study's grid (scores and attacks) that the tables lack, with the languages that are missing."""
        seeds = {(*key, seed) for key, values in self._scores.items() for seed in values}
        result = []
        for cell in self.spec["cells"]:
            model, intermediate, seed = cell["model"], cell["intermediate"], cell["seed"]
            for target in cell["targets"]:
                codes = [
                    code
                    for code in self.spec["targets"][target]["languages"]
                    if (model, intermediate, target, code, seed) not in seeds
                ]
                result.append({"attack": None, "source": "", "model": model, "intermediate": intermediate,
                               "seed": seed, "target": target, "languages": codes})  # fmt: skip
        there = {
            (row["attack"], row["source"] or "", row["model"], row["intermediate"], row["seed"], row["target"],
             row["language"])
            for row in self.tables["robustness"]
        }  # fmt: skip
        for run, asked in outcomes.runs(self.spec):
            key = (run.family.attack, run.family.source, run.model, run.intermediate, run.seed, run.target)
            codes = [code for code in asked if (*key, code) not in there]
            names = ("attack", "source", "model", "intermediate", "seed", "target")
            result.append({**dict(zip(names, key, strict=True)), "languages": codes})
        return [one for one in result if one["languages"]]

    def expected(self, model: str, intermediate: str, target: str) -> int:
        """Score files that the study asks for in one cell of the grid (seeds x languages); 0: not asked for."""
        asked = [c for c in self.spec["cells"] if (c["model"], c["intermediate"]) == (model, intermediate)]
        return sum(target in cell["targets"] for cell in asked) * len(self.spec["targets"][target]["languages"])

    def slopes(self, target: str, intermediate: str, measure: str) -> dict[str, float]:
        """family -> fitted slope in points for ten times the size, where there is a fit."""
        return {
            row["family"]: row["slope"]
            for row in self.tables["scaling"]
            if (row["target"], row["intermediate"], row["measure"]) == (target, intermediate, measure)
            and row["status"] == "fitted"
        }

    # ---- published numbers
    def published(self) -> list[dict]:
        """Rows of catalog/published.csv: means over all languages of this study's targets, of the paper's encoder."""
        with open(self.catalog.published_path, encoding="utf-8", newline="") as handle:
            return [
                row
                for row in csv.DictReader(handle)
                if row["model"] == MODEL and row["language"] == "official" and row["target"] in self.spec["targets"]
            ]

    def published_scores(self) -> dict[str, dict[str, float]]:
        """target -> {"none": ..., "best": ...}: task scores of XLM-R large as published, where all metrics are.

        The first row of a metric counts. For retrieval that is jiant's replication, at the layer of preset `jiant`,
        whatever the study's own: XTREME's figures could not be reproduced with the released settings.
        """
        found: dict[tuple[str, str], dict[str, float]] = {}
        for row in sorted(self.published(), key=lambda row: row["setting"] != "jiant replication"):
            kind = "none" if row["intermediate"] == NONE else "best"
            found.setdefault((row["target"], kind), {}).setdefault(row["metric"], float(row["value"]))
        result: dict[str, dict[str, float]] = {}
        for (target, kind), values in found.items():
            needed = {"f1", "exact_match"} if self.spec["targets"][target]["kind"] == "span_qa" else set(values)
            if needed <= set(values):
                result.setdefault(target, {})[kind] = fmean(values[name] for name in sorted(needed))
        return result
