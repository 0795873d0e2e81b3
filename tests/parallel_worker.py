"""Trains a tiny model a few steps on any World: run by tests/test_parallel.py, alone and as several processes."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from xstilts.data import kinds
from xstilts.models import loading, runtime, trimming
from xstilts.training import batching, optimisation, parallel
from xstilts.training.sharding import blocks

# both heads of a mixture; the last batch has fewer examples than there are processes
STEPS = [("nli", 8), ("tags", 8), ("nli", 7), ("tags", 5), ("nli", 8), ("nli", 1)]
CASES = {
    "plain": {},
    "trimmed": {"trim": True, "checkpointing": True},
    "bf16": {"precision": "bf16"},
    "frozen": {"precision": "bf16", "frozen": True},
}
HYPER = {"learning_rate": 1e-3, "weight_decay": 0.1, "adam_epsilon": 1e-3, "warmup": 0.2}


def features(task: str, count: int, step: int) -> list[dict]:
    """Made-up features of unlike lengths, the same in every process."""
    draw, found = np.random.default_rng([step, count]), []
    for _ in range(count):
        ids = [0, *draw.integers(5, 45, draw.integers(3, 20)).tolist(), 2]
        if task == "nli":
            found.append({"input_ids": ids, "label": int(draw.integers(3))})
        else:
            found.append({"input_ids": ids, "labels": [-100, *draw.integers(0, 4, len(ids) - 2).tolist(), -100]})
    return found


def train(base: Path, world: parallel.World, trim=False, checkpointing=False, precision="fp32", frozen=False) -> dict:
    """{name: tensor}: whole weights after the steps, each step's loss, norm of gradients, and logits on the way."""
    model = loading.load(base)
    if trim:
        trimming.trim(model, np.arange(50))
    else:
        model.encoder.float()
    if frozen:  # embeddings, and as with adapters a block's matrices in bfloat16 beside trained weights
        model.embeddings.requires_grad_(False)
        for parameter in blocks(model)[0].parameters():
            parameter.requires_grad_(False)
            parameter.data = parameter.data.bfloat16() if parameter.ndim == 2 else parameter.data
    model.add_head("nli", "pair", 3, seed=1)
    model.add_head("tags", "tagging", 4, seed=1)
    model.add_head("unused", "pair", 2, seed=1)
    model.encoder.checkpointing = checkpointing
    if world.rank:  # a head that another process drew otherwise: the main one's counts
        torch.nn.init.normal_(model.heads["unused"].out_proj.weight)
    world.prepare(model, precision)
    optimiser = optimisation.build(model, {}, world)
    found = {"losses": [], "norms": []}
    looks = [
        look(model, world.device, precision)
    ]  # before the first step: inference must leave memory that can be trained with
    model.train()
    for step, (task, count) in enumerate(STEPS):
        kind, total = kinds.get("pair" if task == "nli" else "tagging"), 0.0
        parts = batching.shares(features(task, count, step), 64, world.size)[world.rank]
        for number, (part, weight) in enumerate(parts, 1):
            last = number == len(parts)
            batch = kind.collate(part, model.pad_id)
            batch = {name: tensor.to(world.device) for name, tensor in batch.items()}
            with runtime.autocast(world.device, precision):
                logits = world.logits(task, batch, last)
            loss = kind.loss(logits.float(), batch) * weight
            world.backward(loss, last)
            total += loss.detach()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        other = "tags" if task == "nli" else "nli"
        assert all(parameter.grad is None for parameter in model.heads[other].parameters()), (step, task)
        optimisation.configure(optimiser, HYPER, step, len(STEPS))
        found["norms"].append(world.clip(trained, 1.0))
        optimiser.step()
        optimiser.zero_grad()
        found["losses"].append(world.total(total))
        looks.append(look(model, world.device, precision))
    found = {name: torch.stack(values) for name, values in found.items()} | {"looks": torch.stack(looks)}
    state = model.state_dict()
    whole = world.whole(state)
    if world.layout == "sharded":  # every process has its rows, in torch.chunk's order, and can write them back
        name = next(name for name in state if name.endswith("query.weight"))
        parameter = dict(model.named_parameters())[name]
        mine = world.local(parameter).clone()
        saved = whole if world.main else {name: torch.zeros_like(mine).repeat(world.size, 1)}
        world.dist.broadcast(saved[name], 0)
        assert torch.equal(torch.chunk(saved[name], world.size)[world.rank], mine)
        world.place(parameter, saved[name] + 1)
        assert torch.equal(world.local(parameter), mine + 1)
    return {name: tensor.contiguous() for name, tensor in (found | whole).items()}


def look(model, device: torch.device, precision: str) -> torch.Tensor:
    """Logits in inference mode, as for the English dev data, by every process alike."""
    model.eval()
    batch = kinds.get("pair").collate(features("nli", 3, 99), model.pad_id)
    with torch.inference_mode(), runtime.autocast(device, precision):
        logits = model.logits("nli", {name: tensor.to(device) for name, tensor in batch.items()})
    model.train()
    return logits.float().clone()


def main() -> None:
    """What to do is in the arguments; started once, this process starts itself once a device."""
    what, base, out = sys.argv[1], Path(sys.argv[3]), Path(sys.argv[4])
    device = runtime.device(sys.argv[2])
    torch.set_num_threads(1)
    if not parallel.launched():
        parallel.relaunch(2, device)
        (out / "back").write_text("the launcher came back")
        return
    world = parallel.open_world("ddp", device)
    if what == "train":
        for strategy in ("ddp", "fsdp"):
            world = parallel.open_world(strategy, device)
            for case, changes in CASES.items():
                tensors = train(base, world, **changes)
                if world.main:
                    save_file(tensors, out / f"{strategy}-{case}.safetensors")
        facts = {"any": [world.any(world.rank == 1), world.any(False)], "most": world.most(world.rank * 7)}
        facts |= {"total": float(world.total(torch.tensor(world.rank + 1.0)))}
        (out / f"facts-{world.rank}.json").write_text(json.dumps(facts))
    elif what == "fail":
        sys.exit(3 if world.rank == 1 else 0)
    else:  # wait for a signal, as a training does between two steps
        got = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: got.append(number))
        (out / f"ready-{world.rank}").write_text(str(os.getpid()))
        deadline = time.time() + 30
        while not world.most(got[0] if got else 0) and time.time() < deadline:
            time.sleep(0.05)
        (out / f"stopped-{world.rank}").write_text(str(got[0]) if got else "nothing came")
        sys.exit(128 + got[0])
    world.barrier()
    world.close()


if __name__ == "__main__":
    main()
