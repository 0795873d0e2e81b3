"""The tasks of one training job: their encoded examples, and a model made ready to train on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from xstilts.data import kinds
from xstilts.errors import UserError
from xstilts.files import read_jsonl
from xstilts.models.loading import TaskModel
from xstilts.training import batching

ENGLISH = "en"


@dataclass
class Task:
    """One task of the job: its spec, encoded training features and English dev examples (none for kind mlm).

    `facts`: what `kind.corrupt` needs of the tokenizer; None for kinds whose inputs are the same at every step.
    """

    spec: dict
    kind: object
    features: list[dict]
    examples: int
    dev: list[dict]
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


def files(spec: dict, examples_dir: Path) -> tuple[list[Path], list[Path]]:
    """(training files, one a language; English dev file if there is one) of a task's spec.

    Dev is always English, whatever a variant is trained on; masked text has none, for it is never scored.
    """
    languages = spec.get("languages", [ENGLISH])
    folder = examples_dir / spec["task"]
    scored = ENGLISH in languages and spec["kind"] != "mlm"
    return [folder / code / "train.jsonl" for code in languages], [folder / ENGLISH / "dev.jsonl"] if scored else []


def read(spec: dict, model: TaskModel, examples_dir: Path) -> Task:
    """Read and encode one task's training examples of all its languages, and its first `eval_examples` dev examples."""
    kind = kinds.get(spec["kind"])
    training, scored = files(spec, examples_dir)
    examples = [example for path in training for example in read_jsonl(path)]
    if spec["kind"] == "tagging" and not spec["labels"]:  # an open tag set (CCG) is what the training data hold
        spec = {**spec, "labels": sorted({tag for example in examples for tag in example["tags"]})}
    features = batching.encode(kind, examples, model.tokenizer, spec)
    if not features:
        raise UserError(f"{spec['task']}: none of its {len(examples)} training examples can be trained on")
    dev = [example for path in scored for example in read_jsonl(path)][: spec["hyper"].get("eval_examples")]
    facts = kind.vocabulary(model.tokenizer) if hasattr(kind, "corrupt") else None
    return Task(spec, kind, features, len(examples), dev, facts)


def make_trainable(model: TaskModel, spec: dict, tasks: list[Task], device: torch.device) -> None:
    """Freeze what `trainable` says, add a new head a task, set the dropout, move the model to `device`."""
    if spec["trainable"] not in ("all", "blocks"):
        raise UserError(f"trainable: {spec['trainable']!r}, allowed: all, blocks (embeddings frozen)")
    if spec["trainable"] == "blocks":
        model.encoder.embeddings.requires_grad_(False)
    else:
        model.encoder.float()  # word embeddings may still be in the base model's float16
    for task in tasks:
        settings = {key: task.spec[key] for key in ("kind", "labels", "options")}
        model.add_head(task.name, task.spec["kind"], len(task.spec["labels"]), spec["seed"], settings)
    dropout = tasks[0].hyper.get("dropout")  # the tasks of a mixture agree on it: the study is refused otherwise
    if dropout is not None:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
    model.to(device)
