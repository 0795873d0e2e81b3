"""Fine-tune an encoder on one task or a mixture: both the intermediate and the target stage."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from xstilts.errors import UserError
from xstilts.files import read_json, write_json
from xstilts.models import checkpoints, encoder, parameters, runtime
from xstilts.models.loading import TaskModel, load
from xstilts.training import accounting, failures, memory, parallel, state
from xstilts.training import tasks as jobs
from xstilts.training.memory import Plan
from xstilts.training.parallel import World
from xstilts.training.run import Run
from xstilts.training.settings import Settings
from xstilts.training.tasks import Task


def train(
    spec: dict,
    model_dir: Path,
    encoder_dir: Path | None,
    examples_dir: Path,
    out: Path,
    device: str = "auto",
    settings: Settings | None = None,
    work: Path | None = None,
) -> None:
    """Train as `spec` says (see the job specs of docs) and write model.safetensors, config.json and train.json.

    `encoder_dir` is the intermediate checkpoint, used where spec["intermediate"] of a target is not `none`. With
    `work`, encodings and state are kept there and a killed run goes on from it to the same bytes. A run that fails (see
    `failures`) is repeated with a derived seed as often as the tasks' `restarts` allow; the first attempt that does not
    fail stands, else the last one, marked `failed`. Everything is decided by the spec and the files; `settings` move a
    result by rounding only: on a CPU two runs with equal threads and settings give equal bytes.
    """
    start = time.time()
    encoder_dir = _start_from(spec, encoder_dir)
    where = runtime.device(device)
    runtime.autocast(where, spec["precision"])  # refuse a wrong value before any work
    settings = settings or Settings()
    plan = plan_of(spec, model_dir, settings, where)
    settings = replace(settings, tokens_per_batch=plan.tokens_per_batch)
    world = parallel.open_world(plan.strategy, where)
    folder = _state_folder(work, spec, model_dir, encoder_dir, examples_dir, settings)
    states = folder and state.States(folder, world.rank, world.size, world.layout, world.barrier)
    loaded = states.load() if states else None
    attempts = loaded[1]["attempts"] if loaded else []
    tasks: list[Task] = []
    most = failures.restarts([task["hyper"] for task in spec["tasks"]])
    while True:
        seed = failures.derived_seed(spec["seed"], len(attempts))
        # sharded weights are cast a block at a time: no process ever holds all of them in float32
        model = load(model_dir, encoder_dir, as_stored=plan.strategy == "fsdp")
        tasks = tasks or [jobs.read(task, model, examples_dir, spec["code"], work) for task in spec["tasks"]]
        _make_ready(model, spec, tasks, seed, settings, plan, world)
        run = Run(spec, model, tasks, seed, settings, world)
        if loaded:
            run.resume(loaded)
            loaded = None
        run.progress["attempts"] = attempts
        try:
            run.steps_until_end(states)
            why = failures.reason(run.progress["dev"])
        except failures.NotANumber as error:
            why = str(error)
            lost = len(attempts) == most
        else:
            lost = False
        attempts = [*attempts, _attempt(run, why)]
        if lost:
            raise failures.lost(spec, attempts)
        if why is None or len(attempts) > most:
            break
        if world.main:
            again = failures.derived_seed(spec["seed"], len(attempts))
            print(f"failed with seed {seed}: {why}. Again with seed {again} ({len(attempts)} of {most})", flush=True)
    tensors = world.whole(model.state_dict()) if world.layout == "sharded" else None
    if world.main:
        factors = _factors(model, spec, tensors)
        checkpoints.save(out, model, model_dir, spec, spec["stage"] == "target", tensors, factors)
        write_json(out / "train.json", _record(run, attempts, start, work))
    world.barrier()
    if states:
        states.clear()
    world.close()


def plan_of(spec: dict, model_dir: Path, settings: Settings, device: torch.device) -> Plan:
    """What the training takes and how it is spread over devices; UserError where it cannot fit."""
    job = memory.job(spec, trim=settings.trim)
    return memory.plan(read_json(model_dir / "config.json"), job, memory.machine(device.type), settings)


def _start_from(spec: dict, encoder_dir: Path | None) -> Path | None:
    """The intermediate checkpoint that the job starts from; None for the base model."""
    if spec["stage"] == "intermediate" or spec["intermediate"] == "none":
        return None
    if encoder_dir is None:
        raise UserError(f"intermediate {spec['intermediate']}: --encoder with its checkpoint folder is missing")
    return encoder_dir


def _make_ready(
    model: TaskModel, spec: dict, tasks: list[Task], seed: int, settings: Settings, plan: Plan, world: World
) -> None:
    """New heads, frozen weights, trimming; then the model on its device, or spread over several."""
    jobs.make_trainable(model, spec, tasks, seed, settings.trim)
    encoder.set_checkpointing(model.encoder, plan.gradient_checkpointing)
    if spec["precision"] == "bf16":
        encoder.keep_frozen_in(model.encoder, torch.bfloat16)
    if settings.compile:
        encoder.compile_blocks(model.encoder, world.device)
    world.prepare(model, spec["precision"])


def _factors(model: TaskModel, spec: dict, tensors: dict | None) -> dict | None:
    """The low-rank factors of trained adapters, which a checkpoint stores in place of whole matrices."""
    if spec["trainable"] != "lora":
        return None
    from xstilts.training import adapters

    return adapters.factors(model, tensors)


def _state_folder(work: Path | None, spec, model_dir, encoder_dir, examples_dir, settings) -> Path | None:
    """Where the state lies: a folder named by everything that the training starts from."""
    if work is None:
        return None
    files = [path for task in spec["tasks"] for group in jobs.files(task, examples_dir) for path in group]
    files += [encoder_dir / "model.safetensors"] if encoder_dir else []
    parts = [spec, checkpoints.fingerprint(model_dir), *map(checkpoints.sha256, files)]
    parts += [settings.tokens_per_batch, settings.trim]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()
    return work / digest[:32]


def _attempt(run: Run, why: str | None) -> dict:
    """What is recorded of one attempt; numbers of its cost are summed over attempts in the end."""
    progress = run.progress
    kept = {key: progress[key] for key in ("tokens", "squares", "examples", "dev")}
    losses = progress["losses"][-5:]
    return {"seed": run.seed, "steps": progress["step"], "reason": why, "losses_last": losses, **kept,
            "training_seconds": round(progress["seconds"], 2)}  # fmt: skip


def _record(run: Run, attempts: list[dict], start: float, work: Path | None) -> dict:
    """The contents of train.json."""
    spec, progress, tasks = run.spec, run.progress, run.tasks
    done = run.plan[: progress["step"]]
    return {
        "stage": spec["stage"],
        "model": spec["model"]["name"],
        "intermediate": spec["intermediate"],
        "target": tasks[0].name if spec["stage"] == "target" else None,
        "seed": spec["seed"],
        "steps": run.steps,
        "epochs": {
            task.name: round(done.count(i) * task.hyper["batch_size"] / len(task.features), 3)
            for i, task in enumerate(tasks)
        },
        # null: trained to the end; else the step after which `patience` looks had brought no gain
        "stopped": {"step": progress["step"], "patience": run.patience} if progress["step"] < run.steps else None,
        "log_every": run.log_every,
        "losses": progress["losses"],
        "dev": progress["dev"],
        "selection": "english_dev_best" if run.eval_every else "last",
        "selected_step": progress["selected"],
        "failed": attempts[-1]["reason"] is not None,
        "reason": attempts[-1]["reason"],
        "attempts": attempts,
        **_cost(run, attempts, time.time() - start, work and work / "peaks.json"),
    }


def _cost(run: Run, attempts: list[dict], seconds: float, peaks: Path | None) -> dict:
    """The part of train.json on time, memory and where: all attempts together."""
    spec, world = run.spec, run.world
    return accounting.record(
        config=run.model.config,
        parameters=parameters.count(run.model.encoder.state_dict())["non_embedding_parameters"],
        trained=sum(tensor.numel() for tensor in state.trainable(run.model.encoder).values()),
        trainable=spec["trainable"],
        precision=spec["precision"],
        device=world.device,
        strategy=world.strategy,
        devices=world.size,
        seconds=seconds,
        cache=peaks,
        **{
            key: sum(attempt[key] for attempt in attempts)
            for key in ("examples", "tokens", "squares", "training_seconds")
        },
    )
