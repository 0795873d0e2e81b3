"""What came of each attack, read from a study's results, and its scores with bootstrap replicates.

Two modes, never mixed: `adaptive`, each model attacked with its own outputs; `static`, texts made once, on a source
model (then put to the others) or by the authors of a published set.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xstilts import paths
from xstilts.analysis import generated
from xstilts.analysis.estimates import Estimates
from xstilts.analysis.load import inside
from xstilts.errors import UserError
from xstilts.files import read_jsonl

ADAPTIVE, STATIC = "adaptive", "static"
SET = "set"  # `source` of a static set that was not made here
TIME = "time spent"  # `why` of attacks/outcomes.py
MEASURES = ("queries", "perturbed", "similarity", "vanished", "refused")  # of one example
MEANS = ("mean", "mean_non_en")


class Family(NamedTuple):
    """Runs that may be compared: equal attack, mode and source of the texts ("" for adaptive ones)."""

    attack: str
    mode: str
    source: str


class Run(NamedTuple):
    """One attack of one trained model on one target."""

    family: Family
    model: str
    intermediate: str
    seed: int
    target: str


def runs(spec: dict) -> Iterator[tuple[Run, list[str]]]:
    """(run, its languages) of a study: `attack_cells`, then `transfer_cells`.

    A cell's `languages` (target -> codes) narrows the target's own; absent: all of them. `source` of a transfer cell:
    `model.intermediate.s1`, the cell that its texts were made on.
    """
    attacks = spec.get("attacks", {})
    for cell in [*spec.get("attack_cells", []), *spec.get("transfer_cells", [])]:
        if "source" in cell:
            family = Family(cell["attack"], STATIC, cell["source"])
        elif attacks.get(cell["attack"], {}).get("set"):
            family = Family(cell["attack"], STATIC, SET)
        else:
            family = Family(cell["attack"], ADAPTIVE, "")
        for target in cell["targets"]:
            codes = (cell.get("languages") or {}).get(target, spec["targets"][target]["languages"])
            yield Run(family, cell["model"], cell["intermediate"], cell["seed"], target), list(codes)


def file(run: Run, language: str, results: Path) -> Path:
    """Where the outcomes of a run in one language lie."""
    names = {"attack": run.family.attack, "model": run.model, "intermediate": run.intermediate, "seed": run.seed}
    if run.family.source in ("", SET):
        return inside(results, paths.attack_rows(run.target, language), **names)
    return inside(results, paths.transfer_rows(run.target, language), **names, source=run.family.source)


Found = dict[tuple[Run, str], dict]  # (run, language) -> what `load` makes of its file


def load(spec: dict, results: Path) -> tuple[Found, list[dict]]:
    """(outcomes by run and language, what is missing).

    An entry holds `clean` (None for texts without an unchanged original) and `attacked`, arrays (n, 1) of scores 0-1 or
    (n, 3) of counts (correct, predicted, gold); the rows' `outcome`, `MEASURES`, `timed_out` (100 or 0); `label`
    (`generated.Labels`). Rows are ordered by id: what is compared is paired by example. Raises UserError where two
    files that are to be compared hold different examples.
    """
    found, missing, labels, first = {}, [], generated.Labels(spec, results), {}
    for run, codes in runs(spec):
        for language in codes:
            path = file(run, language, results)
            if not path.is_file():
                names = {"attack": run.family.attack, "model": run.model, "intermediate": run.intermediate,
                         "seed": run.seed, "target": run.target, "language": language}  # fmt: skip
                missing.append({**names, "file": path.relative_to(results).as_posix()})
                continue
            rows = sorted(read_jsonl(path), key=lambda row: str(row.get("id")))
            ids = [row.get("id") for row in rows]
            known, before = first.setdefault((run.family, run.target, language), (ids, path))
            if ids != known:
                raise UserError(
                    f"{path} and {before}: not the same examples ({len(ids)} and {len(known)}), so they cannot be "
                    "compared. One of them is of an older run: delete it and run the study again."
                )
            ours = run.family.source != SET  # a published set's texts are of no generated item
            verdicts = labels(run.target, language, rows) if ours else [None] * len(rows)
            found[run, language] = _arrays(rows) | {"label": verdicts}
    return found, missing


def _arrays(rows: list[dict]) -> dict:
    counts = any("attacked_counts" in row for row in rows)
    entry: dict = {name: [row.get(name) for row in rows] for name in ("outcome", *MEASURES)}
    entry["timed_out"] = [100.0 * (row.get("why") == TIME) for row in rows]
    for name in ("clean", "attacked"):
        values = [row.get(f"{name}_counts") or [0, 0, 0] if counts else [row.get(name)] for row in rows]
        entry[name] = np.array(values, dtype=float)
    if any(row.get("clean") is None for row in rows):
        entry["clean"] = None
    return entry


class Measured:
    """Scores of one family as `Estimates`: `clean`, `attacked` (0-100) and `success` (succeeded in percent of
    succeeded and failed, nan in draws without either). All three see the same draws of examples and of seeds, so that
    they may be subtracted. languages: of each target; given: of cells (model, intermediate, target)."""

    def __init__(self, spec: dict, found: Found, family: Family, languages: dict[str, list[str]], given: dict):
        self.family, self.languages = family, languages
        self.found = {key: entry for key, entry in found.items() if key[0].family == family}
        study = {"bootstrap": spec["bootstrap"], "targets": {name: {"languages": c} for name, c in languages.items()}}
        metrics: dict[str, dict] = {"clean": {}, "attacked": {}, "success": {}}
        for (run, language), entry in self.found.items():
            key = (run.model, run.intermediate, run.seed, run.target, language)
            tried = [what != "skipped" for what in entry["outcome"]]
            won = [what == "succeeded" for what in entry["outcome"]]
            if entry["clean"] is not None:
                metrics["clean"][key] = {"score": entry["clean"]}
                if any(tried):  # as F1 of counts: 2 won / (tried + tried), summed over examples
                    metrics["success"][key] = {"score": np.array([won, tried, tried], dtype=float).T}
            metrics["attacked"][key] = {"score": entry["attacked"]}
        self.clean, self.attacked = (Estimates(study, metrics[name], given) for name in ("clean", "attacked"))
        self.success = Estimates(study, metrics["success"], given, empty=np.nan)

    def codes(self, model: str, intermediate: str, target: str, language: str) -> list[str]:
        """The languages of a cell behind a code, `mean` or `mean_non_en`."""
        return self.attacked.codes(model, intermediate, target, language)

    def entries(self, model: str, intermediate: str, target: str, language: str, seeds: list[int]) -> list[list[dict]]:
        """For each seed what was found in each language."""
        codes = self.codes(model, intermediate, target, language)
        return [
            [self.found[Run(self.family, model, intermediate, seed, target), code] for code in codes] for seed in seeds
        ]


class Outcomes:
    """All families of a study. A family's replicates are made when it is asked for, and only those of the last one are
    kept: go through them family by family."""

    def __init__(self, spec: dict, found: Found):
        self.languages: dict[Family, dict[str, list[str]]] = {}
        self.cells: dict[Family, dict[tuple[str, str, str], list[str]]] = {}  # (model, intermediate, target) -> codes
        for run, codes in runs(spec):
            cell, cells = (run.model, run.intermediate, run.target), self.cells.setdefault(run.family, {})
            for known in (self.languages.setdefault(run.family, {}).setdefault(run.target, []),
                          cells.setdefault(cell, [])):  # fmt: skip
                known += [code for code in codes if code not in known]
        self.families = list(self.languages)
        self.measured = lru_cache(maxsize=1)(
            lambda family: Measured(spec, found, family, self.languages[family], self.cells[family])
        )  # fmt: skip
