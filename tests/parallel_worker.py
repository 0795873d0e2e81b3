"""What one of several processes does in tests/test_parallel.py: shows facts of its World, or waits for a signal."""

import json
import os
import signal
import sys
import time
import weakref
from pathlib import Path

import torch

from xstilts.training import parallel


def facts(base: Path, world: parallel.World) -> dict:
    """What every process must see alike, and its own rows of a sharded weight."""
    from xstilts.models import loading

    model = loading.load(base)
    model.encoder.float()
    model.add_head("nli", "pair", 3, seed=1)
    head = model.heads["nli"].out_proj.weight
    expected = head.detach().clone()
    if world.rank:  # a head that another process drew otherwise: the main one's counts
        torch.nn.init.normal_(head)
    world.prepare(model, "fp32")
    found = {"any": [world.any(world.rank == 1), world.any(False)], "most": world.most(world.rank * 7)}
    found |= {"total": float(world.total(torch.tensor(world.rank + 1.0)))}
    name, parameter = next((name, one) for name, one in model.named_parameters() if name.endswith("query.weight"))
    whole = world.whole({"head": model.heads["nli"].out_proj.weight, name: parameter})
    found["main's head"] = torch.equal(whole["head"], expected) if world.main else not whole
    mine = world.local(parameter).clone()
    saved = whole.get(name, torch.zeros(parameter.shape))
    world.dist.broadcast(saved, 0)
    rows = torch.chunk(saved, world.size)[world.rank] if world.layout == "sharded" else saved
    found["rows"] = torch.equal(rows, mine)
    return found


def ends_in_order(world: parallel.World) -> bool:
    """Whether DDP's engine is freed before the group: after it, it may wait for ever for a thread of gloo, which waits
    for the GIL that it holds (a race: a run that ends does not show that it cannot hang)."""
    engine, found, destroy = weakref.ref(world.wrapped.reducer), [], world.dist.destroy_process_group

    def look() -> None:
        found.append(engine() is None)
        destroy()

    world.dist.destroy_process_group = look
    world.close()
    return found == [True]


def main() -> None:
    """What to do is in the arguments; started once, this process starts itself once a device."""
    what, base, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    device = torch.device("cpu")
    torch.set_num_threads(1)
    if not parallel.launched():
        parallel.relaunch(2, device)
        return
    world = parallel.open_world("ddp", device)
    if what == "facts":
        found = {"ddp": facts(base, world), "fsdp": facts(base, parallel.open_world("fsdp", device))}
        found["ends in order"] = ends_in_order(world)
        (out / f"facts-{world.rank}.json").write_text(json.dumps(found))
        sys.exit(3 if world.rank == 1 else 0)
    # wait for a signal, as a training does between two steps
    got = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: got.append(number))
    (out / f"ready-{world.rank}").write_text(str(os.getpid()))
    deadline = time.time() + 30
    while not world.most(got[0] if got else 0) and time.time() < deadline:
        time.sleep(0.05)
    (out / f"stopped-{world.rank}").write_text(str(got[0]) if got else "nothing came")
    sys.exit(128 + got[0])


if __name__ == "__main__":
    main()
