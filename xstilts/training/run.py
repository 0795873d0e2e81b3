"""One attempt of a training: its steps, what is counted and kept on the way, and how it goes on after a kill."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass

import torch

from xstilts import job
from xstilts.models import runtime
from xstilts.models.loading import TaskModel
from xstilts.training import batching, dev, failures, mixtures, optimisation, prefetch, state
from xstilts.training.interrupts import Interrupts, Stop
from xstilts.training.parallel import World
from xstilts.training.settings import Settings
from xstilts.training.tasks import Task

HOST = ("full", "sizes")  # of a batch what the host reads: on a GPU reading it would wait for the device


@dataclass
class Item:
    """One step's work: the task's number, this rank's parts [(batch, weight)], and what all ranks together read."""

    index: int
    parts: list[tuple[dict, float]]
    examples: int
    tokens: int
    squares: int


class Run:
    """The steps of one attempt with one seed."""

    def __init__(self, spec: dict, model: TaskModel, tasks: list[Task], seed: int, settings: Settings, world: World):
        self.spec, self.model, self.tasks, self.seed = spec, model, tasks, seed
        self.settings, self.world = settings, world
        own = [mixtures.own_steps(len(task.features), task.hyper) for task in tasks]
        sizes, sampling = {task.name: task.examples for task in tasks}, spec.get("sampling") or {}
        self.steps = spec.get("steps") or mixtures.all_steps(dict(zip(sizes, own, strict=True)), sampling)
        self.plan = mixtures.plan(sizes, sampling, self.steps, seed)
        self.log_every = max(1, min(50, self.steps // 20))
        # tasks with dev data agree on what follows: the study is refused otherwise
        hyper = next((task for task in tasks if task.dev), tasks[0]).hyper
        # without eval_every (or dev data) there is one candidate, the last step, whatever the preset's selection says
        looks = hyper.get("selection") == "english_dev_best" and any(task.dev for task in tasks)
        self.eval_every, self.patience = hyper.get("eval_every") if looks else None, hyper.get("patience")
        self.optimiser = optimisation.build(model, spec, world)
        self.pending: list[torch.Tensor] = []
        self.best: dict[str, torch.Tensor] = {}
        self.progress = {"step": 0, "tokens": 0, "squares": 0, "examples": 0, "seconds": 0.0, "losses": [], "dev": {}}
        self.progress |= {"selected": 0, "looks": 0, "without_gain": 0, "look_due": False, "attempts": []}
        self.progress |= {"dev_seconds": 0.0, "job_seconds": 0.0}
        self.before = 0.0  # seconds that earlier, killed processes spent on the job

    def resume(self, loaded) -> None:
        """Go on from what `state.States.load` gave."""
        self.progress, self.pending, self.best = state.restore(loaded, self.model, self.optimiser, self.world)
        self.before = self.progress["job_seconds"]
        if self.model.trimmed is not None:
            self.model.trimmed.decay = self.progress["decay"]
        if self.world.main:
            print(f"resuming at step {self.progress['step']} of {self.steps}", flush=True)

    @property
    def job_seconds(self) -> float:
        """Of the whole job so far, since its first process started."""
        return self.before + time.time() - job.STARTED

    def steps_until_end(self, states: state.States | None, interrupts: Interrupts) -> None:
        """Train, then put back the best weights; keep states, and stop with exit status 128 + n at signal n.

        Raises `failures.NotANumber` where the loss or a weight became nan or infinite; weights are then the best ones
        so far, if dev chose some.
        """
        if self.progress["step"] == 0:  # the same on every rank but for dropout
            torch.manual_seed(_stream(self.seed, self.world.rank))
        self.model.train()
        try:
            if self.progress["look_due"]:  # the process was stopped in the middle of one
                self._evaluate(interrupts)
                if self.progress["look_due"] and states:  # stopped again: this ends the process
                    self._keep(states, interrupts)
                if self.impatient and self.pending:
                    self._log()
            if not self.over:
                with prefetch.ahead(self._items(), self.settings.ahead(self.world.device.type)) as items:
                    self._steps(items, states, interrupts)
        finally:
            if self.best:
                self._take_best()
        finite = all(bool(torch.isfinite(self.world.local(p)).all()) for p in state.trainable(self.model).values())
        if self.world.any(not finite):
            raise failures.NotANumber(f"weights became no numbers in the last of {self.progress['step']} steps")

    def _steps(self, items: Iterator[Item], states: state.States | None, interrupts: Interrupts) -> None:
        done, begin = self.progress["seconds"], time.time()
        for step, item in enumerate(items, self.progress["step"]):
            self.pending.append(self._step(item, step))
            self.progress["step"] = step + 1
            for key in ("examples", "tokens", "squares"):
                self.progress[key] += getattr(item, key)
            last = step + 1 == self.steps
            if (step + 1) % self.log_every == 0 or last:
                self._log()
            self.progress["seconds"] = done + time.time() - begin
            if last or (self.eval_every and (step + 1) % self.eval_every == 0):
                self.progress["look_due"] = True
                begin += self._evaluate(interrupts)
            if self.impatient and self.pending:
                self._log()
            if states:
                self._keep(states, interrupts)
            if self.impatient:
                return

    @property
    def over(self) -> bool:
        """Whether no step is left."""
        return self.progress["step"] == self.steps or self.impatient

    # ---- one step
    def _items(self) -> Iterator[Item]:
        """What is computed in each step that is left, prepared: decided by the seed and the step alone."""
        past = self.plan[: self.progress["step"]]
        streams = []
        for index, task in enumerate(self.tasks):
            key, lengths = f"{self.seed}/{task.name}", task.features.lengths
            streams.append(batching.stream(lengths, task.hyper["batch_size"], key, start=past.count(index)))
        pin = self.world.device.type == "cuda"
        for step in range(self.progress["step"], self.steps):
            index = self.plan[step]
            task = self.tasks[index]
            features = task.inputs(next(streams[index]), f"{self.seed}/{task.name}/{step}")
            most = task.tokens_per_batch(self.settings.tokens_per_batch)
            parts = []
            for part, weight in batching.shares(features, most, self.world.size)[self.world.rank]:
                batch = task.kind.collate(part, self.model.pad_id)
                batch = {key: tensor.pin_memory() if pin else tensor for key, tensor in batch.items()}
                # where nothing is padding a GPU's kernels need no mask; asking there would make the host wait
                batch["full"] = pin and bool(batch["attention_mask"].all())
                parts.append((batch, weight))
            lengths = [length for feature in features for length in _lengths(feature)]
            yield Item(index, parts, len(features), sum(lengths), sum(length * length for length in lengths))

    def _step(self, item: Item, step: int) -> torch.Tensor:
        """One update; returns this rank's share of the loss on the device: reading it here would make a GPU wait."""
        task, device, total = self.tasks[item.index], self.world.device, 0.0
        for number, (batch, weight) in enumerate(item.parts, 1):
            last = number == len(item.parts)
            batch = {key: value if key in HOST else value.to(device, non_blocking=True) for key, value in batch.items()}
            with runtime.autocast(device, self.spec["precision"]):
                logits = self.world.logits(task.name, batch, last)
            loss = task.kind.loss(logits.float(), batch) * weight
            self.world.backward(loss, last)
            total = total + loss.detach()
        optimisation.configure(self.optimiser, task.hyper, step, self.steps)
        if task.hyper.get("max_grad_norm"):
            self.world.clip(list(state.trainable(self.model).values()), task.hyper["max_grad_norm"])
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.model.trimmed is not None:
            self.model.trimmed.decayed(*optimisation.decay(task.hyper, step, self.steps))
        return total

    def _log(self) -> None:
        step, loss = self.progress["step"], self.world.total(torch.stack(self.pending).mean()).item()
        self.pending = []
        if loss != loss or loss in (float("inf"), float("-inf")):
            begin = (step - 1) // self.log_every * self.log_every
            raise failures.NotANumber(f"the loss became {loss} between steps {begin} and {step} of {self.steps}")
        self.progress["losses"].append(round(loss, 6))
        if self.world.main:
            print(f"step {step}/{self.steps}  loss {loss:.4f}", flush=True)

    # ---- English dev
    @property
    def impatient(self) -> bool:
        """Whether `patience` looks in a row, the last of them included, brought no gain."""
        return bool(self.eval_every and self.patience and self.progress["without_gain"] >= self.patience)

    def _evaluate(self, interrupts: Interrupts) -> float:
        """Score on English dev; with selection by it, keep the weights of the best step (the first of equals).

        Returns the seconds that it took. A signal in the middle of it ends it: the look is then still due, and is done
        first when the training goes on.
        """
        progress, precision, begin = self.progress, self.spec["precision"], time.time()
        scores = {}
        with suppress(Stop), interrupts.raising() if self.world.size == 1 else nullcontext():
            for task in self.tasks:
                if task.dev:
                    one = (self.model, task.spec, task.dev, precision, task.dev_features)
                    scores[task.name] = dev.evaluate(*one)
            progress["look_due"] = False
        taken = time.time() - begin
        progress["dev_seconds"] += taken
        if progress["look_due"]:
            return taken
        if self.world.main:
            print(f"step {progress['step']}/{self.steps}  dev " + json.dumps(scores), flush=True)
        gain = not progress["looks"] or (bool(scores) and dev.mean(scores) > dev.mean(progress["dev"]))
        gain = bool(self.world.most(int(gain and self.world.main)))  # unlike GPUs may round a tie differently
        progress["looks"] += 1
        progress["without_gain"] = 0 if gain else progress["without_gain"] + 1
        if gain:
            progress["dev"], progress["selected"] = scores, progress["step"]
            if self.eval_every:
                self.best = {
                    name: self.world.local(parameter).detach().cpu().clone()
                    for name, parameter in state.trainable(self.model).items()
                }
                if self.model.trimmed is not None:
                    progress["best_decay"] = self.model.trimmed.decay
        return taken

    def _take_best(self) -> None:
        with torch.no_grad():
            for name, parameter in state.trainable(self.model).items():
                self.world.local(parameter).copy_(self.best[name])
        if self.model.trimmed is not None:
            self.model.trimmed.decay = self.progress["best_decay"]

    # ---- states
    def _keep(self, states: state.States, interrupts: Interrupts) -> None:
        """Write a state where it is time or the process was told to stop; all ranks do it after the same step."""
        stop, due = divmod(self.world.most(2 * (interrupts.stop or 0) + states.due()), 2)
        if not (stop or due):
            return
        if self.model.trimmed is not None:
            self.progress["decay"] = self.model.trimmed.decay
        self.progress["job_seconds"] = self.job_seconds
        what = (self.model, self.optimiser, self.pending, self.best, self.world)
        states.save(lambda: state.collect(*what), self.progress)
        if stop:
            if self.world.main:
                step = self.progress["step"]
                print(f"stopped at step {step}: the same command goes on from there", file=sys.stderr, flush=True)
            sys.exit(128 + stop)


def _stream(seed: int, rank: int) -> int:
    """The seed of what is drawn while training (dropout): each rank draws its own."""
    text = f"train {seed}" + (f" rank {rank}" if rank else "")
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _lengths(feature: dict) -> list[int]:
    """Real tokens of each sequence of a feature (a choice has several)."""
    return [int(length) for length in feature["lengths"]] if "lengths" in feature else [len(feature["input_ids"])]
