"""The tasks of one training job: their encoded examples, and a model made ready to train on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from xstilts.data import encodings, kinds
from xstilts.data.encodings import Features
from xstilts.errors import UserError
from xstilts.files import read_jsonl
from xstilts.models import trimming
from xstilts.models.loading import TaskModel

ENGLISH = "en"
TRAINABLE = ("all", "blocks", "lora")


@dataclass
class Task:
    """One task of the job: its spec, encoded training features, English dev examples and their features (none for mlm).

    `facts`: what `kind.corrupt` needs of the tokenizer; None for kinds whose inputs are the same at every step.
    """

    spec: dict
    kind: object
    features: Features
    examples: int
    dev: list[dict]
    dev_features: Features | None = None
    facts: object = None

    @property
    def name(self) -> str:
        return self.spec["task"]

    @property
    def hyper(self) -> dict:
        return self.spec["hyper"]

    def inputs(self, numbers: Sequence[int], key: str) -> list[dict]:
        """The features of one step; `key` decides what is drawn for it (the masks of mlm)."""
        features = [self.features[number] for number in numbers]
        return features if self.facts is None else self.kind.corrupt(features, key, self.facts, self.hyper)

    def tokens_per_batch(self, most: int) -> int:
        """How many tokens may be computed at once: `most`, or the kind's own bound."""
        return min(most, getattr(self.kind, "TOKENS_PER_BATCH", most))

    def pieces(self) -> np.ndarray:
        """Ids of the vocabulary that occur in what is trained or scored on, sorted."""
        found = [self.features.pieces()]
        found += [self.dev_features.pieces()] if self.dev_features is not None else []
        return np.unique(np.concatenate(found))


def files(spec: dict, examples_dir: Path) -> tuple[list[Path], list[Path]]:
    """(training files, one a language; English dev file if there is one) of a task's spec.

    Dev is always English, whatever a variant is trained on; masked text has none, for it is never scored.
    """
    languages = spec.get("languages", [ENGLISH])
    folder = examples_dir / spec["task"]
    scored = ENGLISH in languages and spec["kind"] != "mlm"
    return [folder / code / "train.jsonl" for code in languages], [folder / ENGLISH / "dev.jsonl"] if scored else []


def read(spec: dict, model: TaskModel, examples_dir: Path, code: str = "", cache: Path | None = None) -> Task:
    """Encode one task's training examples of all its languages, and its first `eval_examples` dev examples.

    With `cache` encodings are kept there and taken from there; `code` names the version of the code that makes them.
    """
    kind = kinds.get(spec["kind"])
    training, scored = files(spec, examples_dir)
    features = encodings.features(spec, training, model, code, cache, training=True)
    if spec["kind"] == "tagging" and not spec["labels"]:  # an open tag set (CCG) is what the training data hold
        spec = {**spec, "labels": features.labels}
    if not len(features):
        raise UserError(f"{spec['task']}: none of its {features.examples} training examples can be trained on")
    most = spec["hyper"].get("eval_examples")
    dev = [example for path in scored for example in read_jsonl(path)][:most]
    shown = encodings.features(spec, scored, model, code, cache, False, most, dev) if scored else None
    return Task(spec, kind, features, features.examples, dev, shown, features.facts)


def pieces(tasks: Sequence[Task]) -> np.ndarray:
    """Ids of the vocabulary that occur in the texts of all tasks, sorted."""
    return np.unique(np.concatenate([task.pieces() for task in tasks]))


def make_trainable(model: TaskModel, spec: dict, tasks: list[Task], seed: int, trim: bool = True) -> None:
    """Freeze what `trainable` says, add a new head a task, set the dropout; with `trim`, train only the word
    embeddings that the tasks' texts can touch (the same result: xstilts/models/trimming.py)."""
    if spec["trainable"] not in TRAINABLE:
        raise UserError(
            f"trainable: {spec['trainable']!r}, allowed: {', '.join(TRAINABLE)} (blocks: embeddings frozen)"
        )
    if spec["trainable"] == "blocks":
        model.embeddings.requires_grad_(False)
    elif spec["trainable"] == "all" and trim and all(task.facts is None for task in tasks):
        # masked text, which has facts, gives every row of the vocabulary a gradient
        trimming.trim(model, pieces(tasks))
    elif spec["trainable"] == "all":
        trimming.densify(model)
    for task in tasks:
        settings = {key: task.spec[key] for key in ("kind", "labels", "options")}
        model.add_head(task.name, task.spec["kind"], len(task.spec["labels"]), seed, settings)
    dropout = tasks[0].hyper.get("dropout")  # the tasks of a mixture agree on it: the study is refused otherwise
    if dropout is not None:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
    if spec["trainable"] == "lora":  # after the preset's dropout: adapters have their own
        from xstilts.training import adapters

        adapters.add(model, spec["lora"], seed)
