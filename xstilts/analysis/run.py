"""The ten tables of a study's results, from its results folder alone. No model, no torch, seconds."""

from __future__ import annotations

from pathlib import Path

from xstilts import catalog as catalogs
from xstilts.analysis import (
    baselines,
    changes,
    claims,
    comparisons,
    context,
    cost,
    layers,
    load,
    outcomes,
    robustness,
    scaling,
    scores,
    tables,
)
from xstilts.analysis.estimates import Estimates


def analyse(spec: dict, results: Path, catalog: catalogs.Catalog | None = None) -> None:
    """Compute scores, baselines, retrieval, robustness (its changes, transfer), comparisons, scaling, claims, cost;
    write each as .csv.

    A missing prediction or attack file leaves its rows out; the report lists it. Raises UserError where a file is
    broken or does not fit its gold file.
    """
    cells = load.load_cells(spec, results)
    records = load.training_records(spec, results)
    shallow = baselines.compute(spec, results)
    compared = {key: arrays for key, arrays in shallow.items() if key[3] in spec["targets"]}
    estimates = Estimates(spec, cells.metrics | compared)
    choice = comparisons.chosen(spec, records)
    attacked = outcomes.Outcomes(spec, outcomes.load(spec, results)[0])
    robust = robustness.rows(attacked)
    catalog = catalog or catalogs.load()
    tasks = spec.get("catalog") or {name: task.identity for name, task in catalog.tasks.items()}
    english = comparisons.chosen(spec, records, context.english(spec, tasks))
    checked = context.Context(spec, estimates, english, tasks, load.intermediate_records(spec, results))
    rows = {
        "scores": scores.rows(spec, cells, records),
        "baselines": baselines.rows(shallow, spec),
        "retrieval": layers.rows(spec, results),
        "robustness": robust,
        "robustness_changes": changes.rows(attacked),
        "transfer": robustness.transfer(robust),
        "comparisons": comparisons.rows(spec, estimates, choice, baselines.named(shallow, spec)),
        "scaling": scaling.rows(spec, estimates, attacked),
        "claims": claims.rows(catalog.claims, checked),
        "cost": cost.rows(spec, results),
    }
    for name, table in rows.items():
        tables.write(name, table, results)
