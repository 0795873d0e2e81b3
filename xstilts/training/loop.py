"""Fine-tune an encoder on one task or a mixture: both the intermediate and the target stage."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from xstilts.errors import UserError
from xstilts.files import read_json, write_json
from xstilts.models import checkpoints, encoder, parameters, runtime
from xstilts.models.loading import TaskModel, load
from xstilts.training import accounting, failures, memory, parallel, state
from xstilts.training import tasks as jobs
from xstilts.training.interrupts import Interrupts
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
    `failures`) is repeated with a derived seed as often as the tasks' `restarts` allow. The first attempt that does not
    fail stands, else the last one, marked `failed`; where its loss became no number, with its best weights so far, or
    else those that it began with. The spec and the files decide the result, and `settings` how fast and in how much
    memory (see there): on a CPU two runs with equal threads and settings give equal bytes.
    """
    encoder_dir = _start_from(spec, encoder_dir)
    where = runtime.device(device)
    runtime.autocast(where, spec["precision"])  # refuse a wrong value before any work
    tasks = _read(spec, model_dir, examples_dir, work)
    settings = settings or Settings()
    plan = plan_of(spec, model_dir, settings, where, _rows(tasks))
    settings = replace(settings, tokens_per_batch=plan.tokens_per_batch)
    world = parallel.open_world(plan.strategy, where)

    def begin(seed: int) -> Run:
        model = _load(spec, model_dir, encoder_dir, plan)
        _make_ready(model, spec, tasks, seed, settings, plan, world)
        return Run(spec, model, tasks, seed, settings, world)

    try:
        folder = _state_folder(work, spec, model_dir, encoder_dir, examples_dir, settings)
        with Interrupts() if folder else nullcontext(Interrupts()) as interrupts:
            states = folder and state.States(folder, world.rank, world.size, world.layout, world.barrier, world.most)
            run, attempts = _attempts(spec, begin, states, interrupts, world)
            tensors = world.whole(state.trainable(run.model)) if world.layout == "sharded" else None
            peak = world.most(runtime.peak_memory_mb(where))
            if world.main:
                factors = _factors(run.model, spec, tensors)
                keep = spec["stage"] == "target" or spec.get("keep_heads", False)
                checkpoints.save(out, run.model, model_dir, spec, keep, tensors, factors)
                write_json(out / "train.json", _record(run, attempts, plan, peak, work))
            world.barrier()
            if states:
                states.clear()
    except SystemExit:  # told to stop: all processes are; after an error on one, leaving in order would wait for it
        world.close()
        raise
    world.close()


def _attempts(
    spec: dict, begin: Callable[[int], Run], states: state.States | None, interrupts: Interrupts, world: World
) -> tuple[Run, list[dict]]:
    """The run that stands and what is recorded of all attempts; goes on from the states of a killed process."""
    loaded = states.load() if states else None
    attempts = loaded.progress["attempts"] if loaded else []
    before = loaded.progress["job_seconds"] if loaded else 0.0
    most = failures.restarts([task["hyper"] for task in spec["tasks"]])
    while True:
        seed, lost = failures.derived_seed(spec["seed"], len(attempts)), False
        run = begin(seed)
        if loaded:
            run.resume(loaded)
            loaded = None
        run.before, run.progress["attempts"] = before, attempts
        try:
            run.steps_until_end(states, interrupts)
            why = failures.reason(run.progress["dev"])
        except failures.NotANumber as error:
            why, lost = str(error), not run.best
        attempts = [*attempts, _attempt(run, why)]
        if why is not None and world.main:
            print(f"failed with seed {seed}: {why}", flush=True)
        stands = why is None or len(attempts) > most
        if stands and not lost:
            return run, attempts
        progress, run = run.progress, None
        _forget(world)  # the next attempt's weights take the place of this one's
        if stands:
            run = begin(seed)
            run.progress, run.before = {**progress, "selected": 0}, before
            return run, attempts
        if interrupts.stop:
            sys.exit(128 + interrupts.stop)


def _forget(world: World) -> None:
    """Free the memory of an attempt that nobody refers to any more; models of several processes are in cycles."""
    world.forget()
    gc.collect()
    if world.device.type == "cuda":
        torch.cuda.empty_cache()


def _read(spec: dict, model_dir: Path, examples_dir: Path, work: Path | None) -> list[Task]:
    """The job's tasks, encoded. Of the model its tokenizer is needed alone, and only for what is not kept in `work`."""
    config, tokenizer = read_json(model_dir / "config.json"), model_dir / "tokenizer.json"
    reader = TaskModel(torch.nn.Module(), config, tokenizer, {})
    return [jobs.read(task, reader, examples_dir, spec["code"], work) for task in spec["tasks"]]


def _rows(tasks: list[Task]) -> int:
    """Rows of the word embeddings that the tasks' texts touch."""
    return len(jobs.pieces(tasks))


def rows_of(spec: dict, model_dir: Path, examples_dir: Path, work: Path | None) -> int:
    """Rows of the word embeddings that a job's texts touch; encodes what is not kept in `work` yet."""
    return _rows(_read(spec, model_dir, examples_dir, work))


def plan_of(spec: dict, model_dir: Path, settings: Settings, device: torch.device, rows: int | None = None) -> Plan:
    """What the training takes and how it is spread over devices; UserError where it cannot fit. `rows`: see
    `rows_of`; without them every row of the word embeddings counts."""
    job = memory.job(spec, settings.trim, rows)
    return memory.plan(read_json(model_dir / "config.json"), job, memory.machine(device.type), settings)


def _load(spec: dict, model_dir: Path, encoder_dir: Path | None, plan: Plan) -> TaskModel:
    """The model that an attempt begins with. What need not be float32 is never made so: sharded weights are cast a
    block at a time, frozen matrices are loaded in the format that autocast would cast them to."""
    sharded = plan.strategy == "fsdp"
    lean = runtime.lean(spec["precision"]) if spec["trainable"] == "lora" and not sharded else None
    return load(model_dir, encoder_dir, dtype=lean, as_stored=sharded, with_heads=False)


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
    parts = [spec, checkpoints.fingerprint(model_dir), *map(checkpoints.sha256, files), settings.trim]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()
    return work / digest[:32]


def _attempt(run: Run, why: str | None) -> dict:
    """What is recorded of one attempt; numbers of its cost are summed over attempts in the end."""
    progress = run.progress
    return {
        "seed": run.seed,
        "steps": progress["step"],
        "reason": why,
        "at_majority": failures.at_majority(progress["dev"]),
        "losses_last": progress["losses"][-5:],
        **{key: progress[key] for key in ("tokens", "squares", "examples", "dev")},
        "training_seconds": round(progress["seconds"], 2),
        "dev_seconds": round(progress["dev_seconds"], 2),
    }


def _record(run: Run, attempts: list[dict], plan: Plan, peak: int, work: Path | None) -> dict:
    """The contents of train.json."""
    spec, progress, tasks = run.spec, run.progress, run.tasks
    done, early = run.plan[: progress["step"]], run.impatient and progress["step"] < run.steps
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
        "stopped": {"step": progress["step"], "patience": run.patience} if early else None,
        "log_every": run.log_every,
        "losses": progress["losses"],
        "dev": progress["dev"],
        "selection": "english_dev_best" if run.eval_every else "last",
        "selected_step": progress["selected"],
        "failed": attempts[-1]["reason"] is not None,
        "reason": attempts[-1]["reason"],
        "attempts": attempts,
        # how a batch was cut: with dropout other parts draw other masks
        "plan": {key: getattr(plan, key) for key in ("tokens_per_batch", "gradient_checkpointing", "bytes_a_device")},
        **_cost(run, attempts, peak, work and work / "peaks.json"),
    }


def _cost(run: Run, attempts: list[dict], peak: int, peaks: Path | None) -> dict:
    """The part of train.json on time, memory and where: all attempts and all devices together."""
    spec, world = run.spec, run.world
    trained = sum(tensor.numel() for tensor in state.trainable(run.model.encoder).values())
    counted = parameters.count(run.model.encoder.state_dict())["non_embedding_parameters"]
    lora = spec["trainable"] == "lora"
    return accounting.record(
        config=run.model.config,
        parameters=counted - trained if lora else counted,  # adapters are counted by themselves
        trained=trained,
        trainable=spec["trainable"],
        precision=spec["precision"],
        optimiser=spec.get("optimiser", "adamw"),
        lora_rank=spec["lora"]["rank"] if lora else None,
        device=world.device,
        strategy=world.strategy,
        devices=world.size,
        seconds=run.job_seconds,
        updates=sum(attempt["steps"] for attempt in attempts),
        peak_memory_mb=peak,
        cache=peaks,
        **{
            key: sum(attempt[key] for attempt in attempts)
            for key in ("examples", "tokens", "squares", "training_seconds", "dev_seconds")
        },
    )
