"""Fine-tune an encoder on one English task or a mixture: both the intermediate and the target stage."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from xstilts.data import kinds
from xstilts.errors import UserError
from xstilts.files import read_jsonl, write_json
from xstilts.models import checkpoints, runtime
from xstilts.models.loading import TaskModel, load
from xstilts.training import batching, dev, mixtures, optimisation, state

TOKENS_PER_BATCH = 16_384
SAVE_EVERY = 120.0  # seconds between resumable states


@dataclass
class Task:
    """One task of the job: its spec, encoded training features and dev examples."""

    spec: dict
    kind: object
    features: list[dict]
    examples: int
    dev: list[dict]

    @property
    def name(self) -> str:
        return self.spec["task"]

    @property
    def hyper(self) -> dict:
        return self.spec["hyper"]


def train(
    spec: dict,
    model_dir: Path,
    encoder_dir: Path | None,
    examples_dir: Path,
    out: Path,
    device: str = "auto",
    tokens_per_batch: int = TOKENS_PER_BATCH,
    work: Path | None = None,
) -> None:
    """Train as `spec` says (see the job specs of docs) and write model.safetensors, config.json and train.json.

    `encoder_dir` is the intermediate checkpoint, used where spec["intermediate"] of a target is not `none`. With
    `work`, state is kept there and a killed run goes on from it to the same bytes. `tokens_per_batch` bounds what is
    computed at once; a larger batch is split, which changes a result by rounding only. Everything else is decided by
    the spec and the files: on a CPU two runs with equal threads give equal bytes.
    """
    start = time.time()
    if spec["stage"] == "intermediate" or spec["intermediate"] == "none":
        encoder_dir = None
    elif encoder_dir is None:
        raise UserError(f"intermediate {spec['intermediate']}: --encoder with its checkpoint folder is missing")
    where = runtime.device(device)
    runtime.autocast(where, spec["precision"])  # refuse a wrong value before any work
    model = load(model_dir, encoder_dir)
    tasks = [_task(task, model, examples_dir) for task in spec["tasks"]]
    _make_trainable(model, spec, tasks, where)
    run = _Run(spec, model, tasks, tokens_per_batch, start)
    path = _state_path(work, spec, model_dir, encoder_dir, examples_dir, tokens_per_batch)
    if path and path.is_file():
        run.resume(path)
    run.steps_until_end(path)
    checkpoints.save(out, model, model_dir, spec, keep_heads=spec["stage"] == "target")
    write_json(out / "train.json", run.record())
    if path:
        shutil.rmtree(path.parent, ignore_errors=True)


def _task(spec: dict, model: TaskModel, examples_dir: Path) -> Task:
    kind = kinds.get(spec["kind"])
    folder = examples_dir / spec["task"] / "en"
    examples = read_jsonl(folder / "train.jsonl")
    if spec["kind"] == "tagging" and not spec["labels"]:  # an open tag set (CCG) is what the training data hold
        spec = {**spec, "labels": sorted({tag for example in examples for tag in example["tags"]})}
    features = batching.encode(kind, examples, model.tokenizer, spec)
    return Task(spec, kind, features, len(examples), read_jsonl(folder / "dev.jsonl"))


def _make_trainable(model: TaskModel, spec: dict, tasks: list[Task], device: torch.device) -> None:
    if spec["trainable"] not in ("all", "blocks"):
        raise UserError(f"trainable: {spec['trainable']!r}, allowed: all, blocks (embeddings frozen)")
    if spec["trainable"] == "blocks":
        model.encoder.embeddings.requires_grad_(False)
    else:
        model.encoder.float()  # word embeddings may still be in the base model's float16
    for task in tasks:
        settings = {key: task.spec[key] for key in ("kind", "labels", "options")}
        model.add_head(task.name, task.spec["kind"], len(task.spec["labels"]), spec["seed"], settings)
    dropout = tasks[0].hyper.get("dropout")
    if dropout is not None:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
    model.to(device)


def _state_path(work: Path | None, spec, model_dir, encoder_dir, examples_dir, tokens_per_batch) -> Path | None:
    """Where the state lies: a folder named by everything that the training starts from."""
    if work is None:
        return None
    files = [
        examples_dir / task["task"] / "en" / f"{split}.jsonl" for task in spec["tasks"] for split in ("train", "dev")
    ]
    files += [encoder_dir / "model.safetensors"] if encoder_dir else []
    parts = [spec, checkpoints.fingerprint(model_dir), *map(checkpoints.sha256, files), tokens_per_batch]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()
    return work / digest[:32] / "state.safetensors"


class _Run:
    """The steps of one training, with what is counted and kept on the way."""

    def __init__(self, spec: dict, model: TaskModel, tasks: list[Task], tokens_per_batch: int, start: float):
        self.spec, self.model, self.tasks = spec, model, tasks
        self.tokens_per_batch, self.start = tokens_per_batch, start
        own = [mixtures.own_steps(len(task.features), task.hyper) for task in tasks]
        self.steps = spec.get("steps") or sum(own)
        sizes = [task.examples for task in tasks]
        self.plan = mixtures.plan(sizes, spec.get("sampling") or {}, self.steps, spec["seed"])
        self.log_every = max(1, min(50, self.steps // 20))
        hyper = tasks[0].hyper
        # without eval_every there is one candidate, the last step, whatever the preset's selection says
        self.eval_every = hyper.get("eval_every") if hyper.get("selection") == "english_dev_best" else None
        self.optimiser = optimisation.adamw(model)
        self.pending: list[torch.Tensor] = []
        self.best: dict[str, torch.Tensor] = {}
        self.progress = {"step": 0, "tokens": 0, "examples": 0, "seconds": 0.0, "losses": [], "dev": {}, "selected": 0}
        self.terminated = False

    def resume(self, path: Path) -> None:
        """Go on from a state that an earlier process left."""
        self.progress, self.pending, self.best = state.restore(path, self.model, self.optimiser)
        print(f"resuming at step {self.progress['step']} of {self.steps}", flush=True)

    def steps_until_end(self, path: Path | None) -> None:
        """Train; keep the state at `path` every two minutes and when the process is told to stop."""
        if self.progress["step"] == 0:
            torch.manual_seed(int.from_bytes(hashlib.sha256(f"train {self.spec['seed']}".encode()).digest()[:7], "big"))
        if path:
            before = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "terminated", True))
        streams, done = self._streams(), self.progress["seconds"]
        begin = saved = time.time()
        self.model.train()
        for step in range(self.progress["step"], self.steps):
            task = self.tasks[self.plan[step]]
            features = [task.features[i] for i in next(streams[self.plan[step]])]
            self.pending.append(self._step(task, features, step))
            self.progress["step"] = step + 1
            self.progress["examples"] += len(features)
            self.progress["tokens"] += sum(len(feature["input_ids"]) for feature in features)
            self.progress["seconds"] = done + time.time() - begin
            if (step + 1) % self.log_every == 0 or step + 1 == self.steps:
                self._log()
            if step + 1 == self.steps or (self.eval_every and (step + 1) % self.eval_every == 0):
                paused = time.time()
                self._evaluate()
                begin += time.time() - paused
            if path and (self.terminated or time.time() - saved > SAVE_EVERY):
                state.save(path, self.model, self.optimiser, self.progress, self.pending, self.best)
                saved = time.time()
                if self.terminated:
                    print(f"stopped at step {step + 1}: the same command goes on from there", file=sys.stderr)
                    sys.exit(128 + signal.SIGTERM)
        if path:
            signal.signal(signal.SIGTERM, before)
        if self.best:
            with torch.no_grad():
                for name, parameter in state.trainable(self.model).items():
                    parameter.copy_(self.best[name])

    def _streams(self) -> list:
        """One endless stream of batches a task, each moved on to where the run is."""
        past = self.plan[: self.progress["step"]]
        streams = []
        for index, task in enumerate(self.tasks):
            lengths = [len(feature["input_ids"]) for feature in task.features]
            batches = batching.stream(lengths, task.hyper["batch_size"], f"{self.spec['seed']}/{task.name}")
            streams.append(islice(batches, past.count(index), None))
        return streams

    def _step(self, task: Task, features: list[dict], step: int) -> torch.Tensor:
        """One update; returns the batch's loss on the device (reading it here would make a GPU wait)."""
        device, total = self.model.device, 0.0
        pin = device.type == "cuda"
        for part, weight in batching.micro_batches(features, self.tokens_per_batch):
            batch = task.kind.collate(part, self.model.pad_id)
            batch = {
                name: (tensor.pin_memory() if pin else tensor).to(device, non_blocking=pin)
                for name, tensor in batch.items()
            }
            with runtime.autocast(device, self.spec["precision"]):
                logits = self.model.logits(task.name, batch)
            loss = task.kind.loss(logits.float(), batch) * weight
            loss.backward()
            total = total + loss.detach()
        optimisation.configure(self.optimiser, task.hyper, step, self.steps)
        if task.hyper.get("max_grad_norm"):
            torch.nn.utils.clip_grad_norm_(state.trainable(self.model).values(), task.hyper["max_grad_norm"])
        self.optimiser.step()
        self.optimiser.zero_grad()
        return total

    def _log(self) -> None:
        step, loss = self.progress["step"], torch.stack(self.pending).mean().item()
        self.pending = []
        if loss != loss or loss in (float("inf"), float("-inf")):
            names = ", ".join(task.name for task in self.tasks)
            raise UserError(
                f"{self.spec['model']['name']} on {names}, seed {self.spec['seed']}: the loss became {loss} between "
                f"steps {max(0, step - self.log_every)} and {step} of {self.steps}. Lower learning_rate (now "
                f"{self.tasks[0].hyper['learning_rate']}) or set training.precision: fp32 in the study, then run again."
            )
        self.progress["losses"].append(round(loss, 6))
        print(f"step {step}/{self.steps}  loss {loss:.4f}", flush=True)

    def _evaluate(self) -> None:
        """Score on English dev; with selection by it, keep the weights of the best step (the first of equals)."""
        scores = {
            task.name: dev.evaluate(self.model, task.spec, task.dev, self.spec["precision"]) for task in self.tasks
        }
        print(f"step {self.progress['step']}/{self.steps}  dev " + json.dumps(scores), flush=True)
        old = self.progress["dev"]
        if not old or dev.mean(scores) > dev.mean(old):
            self.progress["dev"], self.progress["selected"] = scores, self.progress["step"]
            if self.eval_every:
                self.best = {name: p.detach().cpu().clone() for name, p in state.trainable(self.model).items()}

    def record(self) -> dict:
        """The contents of train.json."""
        spec, progress, device = self.spec, self.progress, self.model.device
        seconds = progress["seconds"]
        return {
            "stage": spec["stage"],
            "model": spec["model"]["name"],
            "intermediate": spec["intermediate"],
            "target": self.tasks[0].name if spec["stage"] == "target" else None,
            "seed": spec["seed"],
            "steps": self.steps,
            "epochs": {
                task.name: round(self.plan.count(i) * task.hyper["batch_size"] / len(task.features), 3)
                for i, task in enumerate(self.tasks)
            },
            "log_every": self.log_every,
            "losses": progress["losses"],
            "dev": progress["dev"],
            "selection": "english_dev_best" if self.eval_every else "last",
            "selected_step": progress["selected"],
            "failed": dev.failed(progress["dev"]),
            "examples": progress["examples"],
            "tokens": progress["tokens"],
            "seconds": round(time.time() - self.start, 2),
            "training_seconds": round(seconds, 2),
            "tokens_per_s": round(progress["tokens"] / seconds, 1) if seconds else 0.0,
            "peak_memory_mb": runtime.peak_memory_mb(device),
            "device": runtime.describe(device),
            "threads": torch.get_num_threads(),
            "versions": runtime.versions(),
        }
