"""The training benchmarks' jobs: data (real where the folder is there, else generated), models, specs, features."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks import real, sides
from benchmarks.store import WORK
from xstilts import catalog, files

PRESET = "xtreme-head"  # pads to 128 (questions: 384) and trains 32 examples an update, as XTREME's scripts do
GENERATED = 6000
DEV = 32  # examples scored at the end of a training whose speed is measured, outside of what is timed


@functools.cache
def known():
    """The catalog, read once."""
    return catalog.load()


def data(task: str) -> tuple[str, dict[str, list[dict]]]:
    """(source, {"train", "dev"}: English examples) of a catalog task, as the prepare stage writes them.

    Source `local`, the folder of real data, where it holds the task; else `embedded`, generated text.
    """
    from xstilts.data.prepare import build

    entry, root = known().tasks[task], real.data_root(task)
    source = "local" if root else "embedded"
    spec = {"task": task, "kind": entry.identity["kind"], "labels": entry.identity.get("labels") or [], "seed": 1}
    spec |= {"options": entry.identity["options"], "source": source, "parts": entry.sources[source]}
    cap = None if root else GENERATED
    places = [root, None, None]
    return source, {split: build(spec, "en", split, cap, places, Counter()) for split in ("train", "dev")}


def examples(
    task: str, folder: Path = WORK / "examples", change: Callable | None = None, dev: int = DEV
) -> tuple[str, Path]:
    """(source, a folder of examples for scripts/train.py): written once; `change`: train examples -> others."""
    source, found = data(task)
    folder = folder / source
    rows = {"train": change(found["train"]) if change else found["train"], "dev": found["dev"][:dev]}
    for split, part in rows.items():
        files.write_jsonl(folder / task / "en" / f"{split}.jsonl", part)
    return source, folder


def task_spec(task: str, preset: str = PRESET, **hyper) -> dict:
    """One task of a job's spec: no look at dev before the end, no restart of a run that learnt nothing yet."""
    identity = known().tasks[task].identity
    found = {**known().preset(task, preset), "selection": "last", "restarts": 0}
    for key in ("eval_every", "patience", "epochs", "max_steps"):
        found.pop(key, None)
    head = {"kind": identity["kind"], "labels": identity.get("labels") or [], "options": identity["options"]}
    return {"task": task, **head, "languages": ["en"], "hyper": {**found, **hyper}}


def spec(model: str, task: dict, seed: int, precision: str = "bf16", trainable: str = "all", **more) -> dict:
    """A target training's spec; the defaults are those of rules/schemas/study.schema.json."""
    start = {"stage": "target", "code": "benchmark", "model": {"name": model}, "intermediate": "none"}
    return {**start, "seed": seed, "precision": precision, "trainable": trainable, "tasks": [task], **more}


def peer_folder(name: str) -> Path:
    """The model as a standard Hugging Face folder, made once from the same weights."""
    from xstilts.models.export import export

    out = WORK / "peers" / name
    if not (out / "tokenizer_config.json").is_file():
        export(None, real.model(name), out)
    return out


def peer_job(task: dict, model: Path, features: Path, steps: int, seed: int, **more) -> dict:
    """The same training for benchmarks/peer.py: float32, all weights, every sequence padded to max_length."""
    hyper = task["hyper"]
    job = {"model": str(model), "kind": task["kind"], "labels": len(task["labels"]), "features": str(features)}
    job |= {"pad_to": hyper["max_length"], "batch_size": hyper["batch_size"], "learning_rate": hyper["learning_rate"]}
    job |= {"steps": steps, "seed": seed, "bf16": False, "gradient_checkpointing": False, "device": "cpu"}
    return {**job, **more}


def features(task: dict, rows: Path, model: Path, out: Path) -> dict:
    """Write the features of a file of training examples for the peer (`sides.features`)."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return sides.features(out, task, files.read_jsonl(rows), tokenizer)
