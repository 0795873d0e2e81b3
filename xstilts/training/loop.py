"""Fine-tune an encoder on one task or a mixture: both the intermediate and the target stage."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sys
import time
from itertools import islice
from pathlib import Path

import torch

from xstilts.errors import UserError
from xstilts.files import write_json
from xstilts.models import checkpoints, runtime
from xstilts.models.loading import TaskModel, load
from xstilts.training import batching, dev, mixtures, optimisation, state
from xstilts.training import tasks as jobs
from xstilts.training.tasks import Task

TOKENS_PER_BATCH = 16_384
SAVE_EVERY = 120.0  # seconds between resumable states


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
    tasks = [jobs.read(task, model, examples_dir) for task in spec["tasks"]]
    jobs.make_trainable(model, spec, tasks, where)
    run = _Run(spec, model, tasks, tokens_per_batch, start)
    path = _state_path(work, spec, model_dir, encoder_dir, examples_dir, tokens_per_batch)
    if path and path.is_file():
        run.resume(path)
    run.steps_until_end(path)
    checkpoints.save(out, model, model_dir, spec, keep_heads=spec["stage"] == "target")
    write_json(out / "train.json", run.record())
    if path:
        shutil.rmtree(path.parent, ignore_errors=True)


def _state_path(work: Path | None, spec, model_dir, encoder_dir, examples_dir, tokens_per_batch) -> Path | None:
    """Where the state lies: a folder named by everything that the training starts from."""
    if work is None:
        return None
    files = [path for task in spec["tasks"] for group in jobs.files(task, examples_dir) for path in group]
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
        sizes, sampling = {task.name: task.examples for task in tasks}, spec.get("sampling") or {}
        self.steps = spec.get("steps") or mixtures.all_steps(dict(zip(sizes, own, strict=True)), sampling)
        self.plan = mixtures.plan(sizes, sampling, self.steps, spec["seed"])
        self.log_every = max(1, min(50, self.steps // 20))
        # tasks with dev data agree on what follows: the study is refused otherwise
        hyper = next((task for task in tasks if task.dev), tasks[0]).hyper
        # without eval_every (or dev data) there is one candidate, the last step, whatever the preset's selection says
        looks = hyper.get("selection") == "english_dev_best" and any(task.dev for task in tasks)
        self.eval_every, self.patience = hyper.get("eval_every") if looks else None, hyper.get("patience")
        self.optimiser = optimisation.adamw(model)
        self.pending: list[torch.Tensor] = []
        self.best: dict[str, torch.Tensor] = {}
        self.progress = {"step": 0, "tokens": 0, "examples": 0, "seconds": 0.0, "losses": [], "dev": {}, "selected": 0}
        self.progress |= {"looks": 0, "without_gain": 0}
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
            key = f"{self.spec['seed']}/{task.name}/{step}"  # of the step alone: a resumed run draws the same
            features = task.inputs(next(streams[self.plan[step]]), key)
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
                if self.impatient:
                    if self.pending:
                        self._log()
                    break
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
        for part, weight in batching.micro_batches(features, task.tokens_per_batch(self.tokens_per_batch)):
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

    @property
    def impatient(self) -> bool:
        """Whether `patience` looks in a row, the last of them included, brought no gain."""
        return bool(self.eval_every and self.patience and self.progress["without_gain"] >= self.patience)

    def _evaluate(self) -> None:
        """Score on English dev; with selection by it, keep the weights of the best step (the first of equals)."""
        progress, precision = self.progress, self.spec["precision"]
        scores = {
            task.name: dev.evaluate(self.model, task.spec, task.dev, precision) for task in self.tasks if task.dev
        }
        print(f"step {progress['step']}/{self.steps}  dev " + json.dumps(scores), flush=True)
        gain = not progress["looks"] or (bool(scores) and dev.mean(scores) > dev.mean(progress["dev"]))
        progress["looks"] += 1
        progress["without_gain"] = 0 if gain else progress["without_gain"] + 1
        if gain:
            progress["dev"], progress["selected"] = scores, progress["step"]
            if self.eval_every:
                self.best = {name: p.detach().cpu().clone() for name, p in state.trainable(self.model).items()}

    def record(self) -> dict:
        """The contents of train.json."""
        spec, progress, device = self.spec, self.progress, self.model.device
        seconds, done = progress["seconds"], self.plan[: progress["step"]]
        return {
            "stage": spec["stage"],
            "model": spec["model"]["name"],
            "intermediate": spec["intermediate"],
            "target": self.tasks[0].name if spec["stage"] == "target" else None,
            "seed": spec["seed"],
            "steps": self.steps,
            "epochs": {
                task.name: round(done.count(i) * task.hyper["batch_size"] / len(task.features), 3)
                for i, task in enumerate(self.tasks)
            },
            # null: trained to the end; else the step after which `patience` looks had brought no gain
            "stopped": {"step": progress["step"], "patience": self.patience} if progress["step"] < self.steps else None,
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
