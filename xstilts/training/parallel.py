"""One training on one device or several: whole weights on each (DDP) or a share of them on each (FSDP).

Both are torch's own engines; this module hides which is used. Every process computes its share of every batch
(`batching.shares`), whose weights add up to 1 over all processes, so gradients are summed and the effective batch does
not know how many devices there are. With one process nothing of torch.distributed is imported.
"""

from __future__ import annotations

import ctypes
import gc
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

import torch
from torch import Tensor, nn

from xstilts.errors import UserError
from xstilts.job import THREADS

TIMEOUT = timedelta(hours=1)  # that a process waits for the others: one may encode a large task first
SECONDS_TO_STOP = 600  # to write a state when told to stop (torch 2.12 or newer; before, its launcher gives 30)


class World:
    """One process; the classes below do the same for several.

    `strategy`: one, ddp or fsdp; `rank` of `size`; `device` of this process; `main`: whether this is the process that
    writes and prints; `layout`: "whole" where every process has all weights, "sharded" where it has its rows of each.
    """

    strategy, layout, rank, size = "one", "whole", 0, 1

    def __init__(self, device: torch.device):
        self.device = device
        self.model: nn.Module | None = None

    @property
    def main(self) -> bool:
        return self.rank == 0

    def prepare(self, model: nn.Module, precision: str) -> None:
        """Move a TaskModel with its heads, trimmed embeddings and adapters to the device and spread it out.

        Where the layout is sharded, its trainable parameters are DTensors afterwards (see `local`), cast to float32
        and moved block by block, so a model may come from the disk in float16 and on the CPU. Afterwards
        `model.logits` may be called for an evaluation, by all processes together.
        """
        self.model = model.to(self.device)

    def forget(self) -> None:
        """Let go of the model that was prepared, so that its memory is free for another."""
        self.model = self.wrapped = None

    def logits(self, task: str, batch: dict, last: bool = True) -> Tensor:
        """Logits of this process's part of a batch, to train on; `last`: whether it is its last part of this step.

        Every process must have equally many parts in a step.
        """
        return self.model.logits(task, batch)

    def backward(self, loss: Tensor, last: bool = True) -> None:
        """Add to the gradients. After the last part they are sums over all processes; a parameter that no process used
        (another task's head) has none."""
        loss.backward()

    def clip(self, parameters: Iterable[Tensor], max_norm: float) -> Tensor:
        """Scale all gradients so that their common norm is at most `max_norm`; returns the norm before."""
        return nn.utils.clip_grad_norm_(parameters, max_norm)

    def total(self, tensor: Tensor) -> Tensor:
        """Sum of a tensor over all processes."""
        return tensor

    def most(self, number: int) -> int:
        """The largest of the processes' numbers. Does not wait for a GPU."""
        return number

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process. Does not wait for a GPU."""
        return bool(self.most(int(flag)))

    def barrier(self) -> None:
        """Wait until all processes are here."""

    def local(self, tensor: Tensor) -> Tensor:
        """This process's part of a parameter or gradient: a plain tensor of the same memory (maybe of no rows)."""
        return tensor

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors on the CPU in the main process, nothing in the others. All processes call it together."""
        return {name: tensor.detach().cpu() for name, tensor in tensors.items()}

    def close(self) -> None:
        """Leave the group of processes."""


class _Group(World):
    """What both ways of being several processes share."""

    def __init__(self, device: torch.device):
        import torch.distributed as dist

        super().__init__(device)
        self.dist, self.rank, self.size = dist, dist.get_rank(), dist.get_world_size()

    def total(self, tensor: Tensor) -> Tensor:
        result = tensor.detach().clone()
        self.dist.all_reduce(result)
        return result

    def most(self, number: int) -> int:
        found = torch.tensor(number)  # on the CPU: gloo carries it beside whatever a GPU is doing
        self.dist.all_reduce(found, self.dist.ReduceOp.MAX)
        return int(found)

    def barrier(self) -> None:
        self.most(0)

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return super().whole(tensors) if self.main else {}

    def close(self) -> None:
        # DDP's engine, freed after the group, would free the group's last reference with the GIL held: a thread of gloo
        # may wait for the GIL then, and the process would never end
        self.forget()
        gc.collect()
        if self.dist.is_initialized():
            self.dist.destroy_process_group()

    def _agree(self, parameters: Iterable[Tensor]) -> None:
        """Start from the main process's weights, whatever drew the others' first ones."""
        with torch.no_grad():
            for parameter in parameters:
                self.dist.broadcast(parameter.data, 0)


class _Replicated(_Group):
    """torch's DistributedDataParallel: whole weights everywhere, gradients summed while the backward pass goes on."""

    strategy = "ddp"

    def prepare(self, model: nn.Module, precision: str) -> None:
        super().prepare(model, precision)
        self._agree(parameter for parameter in model.parameters() if parameter.requires_grad)
        engine = nn.parallel.DistributedDataParallel
        names = inspect.signature(engine).parameters
        buffers = (
            "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
        )  # before torch 2.13
        self.wrapped = engine(
            model,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            **{buffers: False},
            init_sync=False,  # `_agree` did, for what is trained: frozen weights may be a read-only file in memory
            find_unused_parameters=len(model.heads) > 1,  # the heads of the other tasks of a mixture
            gradient_as_bucket_view=True,
        )
        self.wrapped.register_comm_hook(self.dist, _sum)

    def logits(self, task: str, batch: dict, last: bool = True) -> Tensor:
        if last:
            return self.wrapped(task, batch)
        with self.wrapped.no_sync():
            return self.wrapped(task, batch)


class _Sharded(_Group):
    """torch's FSDP2 (`fully_shard`): each process keeps its rows of every weight, gradient and moment.

    Gradients are summed after every part: keeping whole ones until the last would need the memory that sharding saves.
    """

    strategy, layout = "fsdp", "sharded"

    def prepare(self, model: nn.Module, precision: str) -> None:
        from xstilts.training import sharding

        sharding.shard(model, self.device, precision, self._agree)
        self.model = model

    def clip(self, parameters: Iterable[Tensor], max_norm: float) -> Tensor:
        gradients = [self.local(parameter.grad) for parameter in parameters if parameter.grad is not None]
        gradients = [gradient for gradient in gradients if gradient.numel()]
        squares = torch.zeros((), device=self.device)
        if gradients:
            squares = torch.stack(torch._foreach_norm(gradients)).square().sum()
        norm = self.total(squares).sqrt()
        torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))  # as clip_grad_norm_ does
        return norm

    def local(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to_local() if hasattr(tensor, "to_local") else tensor

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = {}
        for name, tensor in tensors.items():  # one after the other: never two whole tensors on the device
            tensor = tensor.detach()
            tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            if self.main:
                found[name] = tensor.cpu()
        return found


def _sum(dist, bucket):
    """DDP's communication hook: the sum of gradients, where DDP would take the mean."""
    future = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return future.then(lambda done: done.value()[0])


# ---- processes
def launched() -> bool:
    """Whether this process is one of several that a launcher (ours, torchrun, accelerate launch) started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def open_world(strategy: str, device: torch.device) -> World:
    """The World of this process by RANK and WORLD_SIZE; `strategy` is the plan's: one, ddp or fsdp."""
    if not launched() or int(os.environ["WORLD_SIZE"]) == 1:
        return World(device)
    kinds: dict[str, Callable[[torch.device], World]] = {"ddp": _Replicated, "fsdp": _Sharded}
    if strategy not in kinds:
        raise UserError(
            f"strategy: {strategy!r}, but WORLD_SIZE={os.environ['WORLD_SIZE']} processes were started; allowed then: "
            "ddp, fsdp. Start it without a launcher to train on one device."
        )
    import torch.distributed as dist

    _die_with_the_launcher()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    return kinds[strategy](device)


def relaunch(size: int, device: torch.device | None = None) -> None:
    """Run this process's own command once a device, by torch's launcher (torchrun's), and wait for its end.

    Does not come back where it failed: the process ends with the exit status of the first that failed, or 128 + n
    where signal n came, which every process gets and has `SECONDS_TO_STOP` to save its state. GPUs are claimed here,
    unless `device` is a CPU, and stay so until this process ends.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from xstilts.models import gpus

    if (device is None or device.type == "cuda") and gpus.names():
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus.claim(size))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SECONDS_TO_STOP))
    _share_threads(size)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=size,
        run_id=f"xstilts-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a free port
        max_restarts=0,
        local_addr="localhost",
    )
    sys.stdout.flush()
    try:
        elastic_launch(config, sys.executable)("-u", *sys.argv)
    except ChildFailedError as error:
        status = error.get_first_failure()[1].exitcode
        sys.exit(status if status > 0 else 128 - status)
    except SignalException as error:
        sys.exit(128 + int(error.sigval))


def _share_threads(size: int) -> None:
    """Give each of `size` processes its part of the threads that this one may take: by --threads, which `job.run` put
    into the environment, else all that the machine has."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in THREADS:
        given = os.environ.get(name, str(there) if name == THREADS[0] else "")
        if given.isdecimal():
            os.environ[name] = str(max(1, int(given) // size))


def _die_with_the_launcher() -> None:
    """Let Linux kill this process when the one that started it dies, by SIGKILL say: nobody else would stop it."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
