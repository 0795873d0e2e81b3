"""Bytes: on disk for checkpoints, predictions and attacks, in memory for trainings (xstilts/training/memory.py)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from xstilts import paths
from xstilts.cost import rates
from xstilts.cost.rates import ASSUMED, MEASURED, SCALED
from xstilts.errors import UserError
from xstilts.files import read_json, read_jsonl
from xstilts.study import NONE
from xstilts.training import memory
from xstilts.training.settings import Settings, of_model

FLOAT = 4  # bytes of a stored weight
STATES = 2  # the last two states of a training are kept while it runs
SHARDED = 8  # devices of the last column: one box


@dataclass
class Part:
    """One line of what lies on disk: bytes, where the number is from, whether it may be less."""

    name: str
    size: float
    basis: str
    why: str
    most: bool = False


def config(model, folder: Path) -> dict:
    """What memory.estimate reads of a model's config.json: the file where it is, else made from the catalog's counts
    (heads of 64 are an assumption there; they count in the activations alone)."""
    if (folder / "config.json").is_file():
        return read_json(folder / "config.json")
    layers, width, size = model.identity["layers"], model.identity["hidden"], model.size
    words, inner = (size["parameters"] - size["non_embedding_parameters"]) // width, rates.inner(model)
    made = {"num_hidden_layers": layers, "hidden_size": width, "vocab_size": words, "intermediate_size": inner}
    return made | {"num_attention_heads": max(1, width // 64), "max_position_embeddings": 514}


def trained(model, training: dict) -> int:
    """Weights that a training changes: all, the blocks', or LoRA's factors (of six matrices a block)."""
    if training["trainable"] == "lora":
        return rates.adapters(model, training["lora"]["rank"])
    return model.size["parameters" if training["trainable"] == "all" else "non_embedding_parameters"]


def disk(study, jobs: Sequence, places: Iterable[Path], root: Path) -> list[Part]:
    """What the jobs still to do will write and keep, and what a training needs beside it while it runs."""
    places, training, found = list(places), study.config["training"], []
    left = [job for job in jobs if not job.done]
    for model in study.models:
        entry, file = study.catalog.models[model], root / paths.MODEL["model"].format(study=study.name, model=model)
        if not file.is_file():
            size = FLOAT * entry.size["parameters"]
            found.append(Part(f"model {model}", size, ASSUMED, "4 bytes a parameter"))
    for model in study.models:
        many = sum(job.model == model and job.stage in ("intermediate", "target") for job in left)
        if many:
            size, basis, why, most = _checkpoint(study.catalog.models[model], training, places)
            found.append(Part(f"{many} checkpoints of {model}", many * size, basis, why, most))
    predicted, attacked = _bytes(places, "predictions", study), _bytes(places, "attacks", study)
    for stage, name, known in (("evaluate", "predictions", predicted), ("attack", "outcomes of attacks", attacked)):
        some = [job for job in left if job.stage == stage]
        if some and known:
            size = sum(job.amount.examples for job in some) * known
            found.append(Part(name, size, SCALED, f"{known:,.0f} bytes an example in earlier results"))
        elif some:
            found.append(Part(name, 0.0, ASSUMED, "not known, but small: no earlier results are here"))
    models = {job.model for job in left if job.stage in ("intermediate", "target")}
    if models:
        each = FLOAT + memory.MOMENTS[training.get("optimiser", "adamw")] + FLOAT  # weights, moments, the best so far
        most = max(STATES * each * trained(study.catalog.models[model], training) for model in models)
        found.append(Part("while one training runs", most, SCALED, "two states to resume from, in work/", True))
    return found


def _checkpoint(model, training: dict, places: list[Path]) -> tuple[float, str, str, bool]:
    """Bytes of one checkpoint: as earlier ones of the same model and setting, else by what is trained."""
    known = []
    for place in places:
        for stage in ("encoders/{}/*/s*", "targets/{}/*/s*/*"):
            for folder in place.glob(stage.format(model.name)):
                weights, made = folder / "model.safetensors", folder / "config.json"
                spec = read_json(made).get("spec", {}) if made.is_file() and weights.is_file() else {}
                known += [weights.stat().st_size] if spec.get("trainable") == training["trainable"] else []
    if known:
        return median(known), MEASURED, f"median of {len(known)} earlier ones", False
    whole = training["trainable"] == "all"
    why = "4 bytes a weight; only touched word embeddings count" if whole else "4 bytes a trained weight"
    return FLOAT * trained(model, training), SCALED, why, whole


def _bytes(places: list[Path], folder: str, study) -> float:
    """Bytes an example of earlier predictions or outcomes (0: there are none)."""
    size = examples = 0
    for place in places:
        for path in sorted((place / folder).glob("**/*.*")):
            if path.suffix in (".tsv", ".json", ".jsonl"):
                size, examples = size + path.stat().st_size, examples + _examples(path)
    return size / examples if examples else 0.0


def _examples(path: Path) -> int:
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        try:
            return len(json.loads(content))
        except (ValueError, TypeError):
            return 0
    blank = content.count("\n\n")  # tagging: a line a word, an empty one after a sentence
    return blank or content.count("\n")


def outcomes(path: Path) -> list[dict]:
    """Rows of a file of attack outcomes; none where it cannot be read."""
    try:
        return [row for row in read_jsonl(path) if isinstance(row, dict)]
    except UserError:
        return []


def needs(study, specs, root: Path, device: str, there: float | None) -> list[dict]:
    """Memory of each model's largest training: {model, planned, least, fits} in bytes a device; of a GPU `sharded` too.

    `planned`: one device with the model's settings; `least`: small batches, blocks computed twice; `sharded`: that over
    8 devices. `fits`: the first of them for which a device of `there` bytes is enough (None: not known how many there
    are). Every word embedding counts, though trimming will leave only those of the data.
    """
    found = defaultdict(list)
    for model, name, seed in study.cells:
        if name != NONE:
            found[model].append(specs.intermediate(model, name, seed))
        for task in study.training_tasks(study.cells[model, name, seed]):
            found[model].append(specs.target(model, name, seed, task))
    for cell in study.stand_in_cells:
        found[cell[0]].append(specs.intermediate(*cell))
    result = []
    for model, made in found.items():
        read = config(study.catalog.models[model], root / paths.MODEL_DIR.format(study=study.name, model=model))
        settings: Settings = of_model(model, study.catalog.root / "catalog" / "models")
        jobs = {repr(job): job for job in map(memory.job, made)}.values()

        def bytes_of(strategy: str, size: int, least: bool, read=read, settings=settings, jobs=jobs) -> int:
            def one(job) -> int:
                tokens = job.longest if least else settings.at_once(device)
                twice = least or bool(settings.gradient_checkpointing)
                return sum(memory.estimate(read, job, strategy, size, tokens, twice, device).values())

            return max(one(replace(job, rows=None)) for job in jobs)

        row = {"planned": bytes_of("one", 1, False), "least": bytes_of("one", 1, True)}
        row |= {"sharded": bytes_of("fsdp", SHARDED, True)} if device == "cuda" else {}
        usable = memory.Machine(device, (int(there),)).usable(1) if there else 0
        fits = next((name for name, size in row.items() if size <= usable), "no") if there else None
        result.append({"model": model, **row, "fits": fits})
    return result
