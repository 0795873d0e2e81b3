"""Job specs of the jobs that look at a whole study: checks of its data, analysis, report (see xstilts/specs.py)."""

from __future__ import annotations

from pathlib import Path

from xstilts import paths
from xstilts.identity import canonical, sha256, stage_code
from xstilts.outputs import Outputs

LENGTH_KEYS = ("max_length", "max_query_length")  # beyond these a text is cut or read in windows


def check_data(specs) -> dict:
    """Everything that was prepared, the models whose tokenizers read it, and how long it may be."""
    study, outputs, data, stages = specs.study, Outputs(specs.study), [], {}
    prepared = [(task, specs.prepare_train(task), outputs.prepared_train(task)) for task in study.trained_tasks()]
    prepared += [(target, specs.prepare_test(target), outputs.prepared_test(target)) for target in study.tests]
    for task, spec, files in prepared:
        examples = [Path(path).parts[-2:] for path in files.values() if path.startswith(paths.EXAMPLES)]
        own = study.training_task(task)
        data.append({
            "task": task, "kind": spec["kind"], "labels": spec["labels"] if spec["kind"] == "pair" else [],
            "training_task": own, "identity": sha256(canonical(spec))[:16],
            "files": [[language, name.removesuffix(".jsonl")] for language, name in examples],
        })  # fmt: skip
        # the length limit is that of the target training where there is one
        target = task in study.tests or task in study.training_tasks(study.targets)
        stages[task] = own or task, "target" if target else "intermediate"

    def limits(model: str) -> dict:
        found = {task: specs.hyper(*stage, model) for task, stage in stages.items()}
        return {task: {key: one[key] for key in LENGTH_KEYS if key in one} for task, one in found.items()}

    codes = sorted({language for part in data for language, _ in part["files"]})
    return {
        "stage": "check_data",
        "code": stage_code("check_data"),
        "data": data,
        "models": {name: sha256(canonical(specs.fetch_model(name)))[:16] for name in study.grid_models},
        "lengths": {model: limits(model) for model in study.grid_models},
        "unspaced": [code for code in codes if not study.catalog.languages[code]["spaces"]],
    }


def analyse(specs) -> dict:
    """What the tables are made of: the grid, and of tasks, models and attacks what rows and checks need."""
    study, catalog = specs.study, specs.study.catalog
    return {
        "stage": "analyse",
        "code": stage_code("analyse"),
        "study": study.name,
        "demonstration": study.demonstration,
        "models": {
            name: {**catalog.models[name].size, "family": catalog.models[name].identity["family"]}
            for name in study.grid_models
        },
        "intermediates": {name: list(study.intermediate_tasks(name)) for name in study.intermediates},
        "cells": [
            {"model": model, "intermediate": intermediate, "seed": seed, "targets": targets}
            for (model, intermediate, seed), targets in study.cells.items()
        ],
        "targets": {
            target: {
                **specs.tasks[target].identity,
                "languages": study.languages(target),
                "hyper": specs.hyper(task) if task else {},
            }
            for target in study.targets
            for task in [study.training_task(target)]
        },
        "official_languages": {target: specs.tasks[target].identity["languages"] for target in study.targets},
        "attacks": {attack: catalog.attacks[attack].identity for attack in study.attacks},
        "attack_cells": [
            {"attack": attack, "model": model, "intermediate": intermediate, "seed": seed, **cell}
            for (attack, model, intermediate, seed), cell in study.attack_cells.items()
        ],
        "transfer_cells": [
            {
                "attack": attack,
                "source": source,
                "made_on": cell["source"],
                "model": model,
                "intermediate": intermediate,
                "seed": seed,
                "targets": cell["targets"],
                "languages": cell["languages"],
            }
            for (attack, source, model, intermediate, seed), cell in study.transfer_cells.items()
        ],
        "sources": {task: study.source(task)[0] for task in study.data_tasks()},
        "generators": {
            task: [part["generator"] for part in parts]
            for task in study.data_tasks()
            for source, parts in [study.source(task)]
            if source == "embedded"
        },
        # what structural claims are checked against
        "catalog": {name: entry.identity for name, entry in specs.tasks.items()},
        "revisions": {
            "data": {
                task: [part.get("revision") for part in map(specs.pinned, study.source(task)[1])]
                for task in study.data_tasks()
            },
            "models": {name: specs.model(name)["source"] for name in study.models},
        },
        "data": specs.config["data"],
        "training": {
            **specs.config["training"],
            "mixtures": {name: list(mix.tasks) for name, mix in study.mixtures.items()},
            "sampling": {name: mix.sampling for name, mix in study.mixtures.items()},
        },
        "challenges": {task: study.languages(task) for task in study.challenges},
        "train_languages": {task: study.train_languages(task) for task in study.trained_tasks()},
        "retrieval": {
            model: {target: specs.hyper(target, model=model) for target in study.retrieval_targets}
            for model in study.grid_models
        },
        "notices": study.notices,
        "not_run": study.not_run,
        "bootstrap": specs.config["bootstrap"],
    }


def report(specs) -> dict:
    """As `analyse`; the report shows what the analysis computed, and where the data came from."""
    study = specs.study
    origins = {task: [_origin(specs.pinned(part)) for part in study.source(task)[1]] for task in study.data_tasks()}
    return {**analyse(specs), "stage": "report", "report_code": stage_code("report"), "origins": origins}


def _origin(part: dict) -> dict:
    return {key: part[key] for key in ("id", "revision", "folder", "generator", "path_key") if key in part}
