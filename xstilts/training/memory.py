"""How much memory a training takes, and which strategy fits the machine: arithmetic, planned before anything is loaded.

Bytes a trained weight: float32 weight 4, gradient 4, AdamW's moments 8: 16, as in other mixed precision recipes; in
bf16 autocast holds a bfloat16 copy of each matrix beside them. The moments of adamw8bit take 2, and scales 8 for each
256 weights; embeddings and small tensors keep float32 ones (`moments`). Activations of a block for b sequences of s
tokens, width h, a heads: s*b*h*(34 + 5*a*s/h) bytes where all is 16 bits wide (Korthikanti et al. 2022, arXiv
2205.05198). This project's blocks keep the residual stream in float32: `ACTIVATIONS` bounds what autograd saves for a
block (tests/test_memory.py counts it). Checkpointed, a block leaves its input alone.

Beside GPUs the host's memory is planned too (`host`): a state to resume from is collected there before it is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from xstilts.errors import UserError

GIB = 2**30
ACTIVATIONS = {"bf16": (44, 6), "fp32": (72, 12)}  # bytes a token and width; and times a*s/h
MOMENTS = {"adamw": 8, "adamw8bit": 2 + 8 / 256}  # bytes a weight: two float32, or two bytes and two scales a block
SMALLEST = 4096  # optimisation.SMALLEST, which cannot be imported without torch: a smaller tensor keeps float32 moments
RESERVE = {"cuda": 0.06, "cpu": 0.10}  # share that is left alone: fragments, other programs (a choice of ours)
PROCESS = GIB  # libraries, CUDA's context, batches prepared ahead (a choice of ours)
ENOUGH_TOKENS = 2048  # a batch this large keeps a GPU busy: computing blocks twice beats going below (a choice of ours)
MOST_CHOICES = 5  # sequences of an example of kind choice: CommonsenseQA's
MLM_TOKENS, MASKED = 4096, 0.15  # kinds.mlm.TOKENS_PER_BATCH; share of the pieces that get logits


@dataclass(frozen=True)
class Job:
    """What of a training's spec counts: see `job`. `rows`: word embeddings that are trained (None: all)."""

    name: str
    trainable: str = "all"
    precision: str = "bf16"
    optimiser: str = "adamw"
    rank: int = 8
    longest: int = 128
    batch_size: int = 32
    kinds: tuple[str, ...] = ("pair",)
    keeps_best: bool = False
    rows: int | None = None


@dataclass(frozen=True)
class Machine:
    """Bytes of each GPU, or of the whole machine (cpu).

    `ranks`: processes that a launcher has started already; `booked`: GPUs that a job of the workflow may take where its
    model names no number; `host`: bytes of the memory beside the GPUs (None: not planned with).
    """

    kind: str
    devices: tuple[int, ...]
    ranks: int | None = None
    booked: int | None = None
    host: int | None = None

    def usable(self, size: int) -> float:
        """Bytes that each of `size` processes may take."""
        share = min(self.devices) if self.kind == "cuda" else self.devices[0] / size
        return share * (1 - RESERVE[self.kind])

    def holds(self, bytes_of_host: float) -> bool:
        """Whether the memory beside the GPUs is enough."""
        return self.kind == "cpu" or self.host is None or bytes_of_host <= self.host * (1 - RESERVE["cpu"])


class TooLarge(UserError):
    """No way of training fits the machine's memory."""


@dataclass(frozen=True)
class Plan:
    """A strategy that fits. `parts`: name -> bytes a device; they add up to `bytes_a_device`."""

    strategy: str
    size: int
    tokens_per_batch: int
    gradient_checkpointing: bool
    bytes_a_device: int
    parts: dict[str, int]


def job(spec: Mapping, trim: bool = True, rows: int | None = None) -> Job:
    """The Job of a training's spec. How many rows trimming will leave is known once the texts are encoded, so without
    `rows` every row counts: what fits then fits. Where nothing is trimmed `rows` is not looked at."""
    hypers = [task["hyper"] for task in spec["tasks"]]
    kinds = tuple(task["kind"] for task in spec["tasks"])
    return Job(
        name=spec["model"]["name"],
        trainable=spec["trainable"],
        precision=spec["precision"],
        optimiser=spec.get("optimiser", "adamw"),
        rank=(spec.get("lora") or {}).get("rank", Job.rank),
        longest=max(hyper["max_length"] for hyper in hypers),
        batch_size=max(hyper["batch_size"] for hyper in hypers),
        kinds=kinds,
        keeps_best=any(hyper.get("selection") == "english_dev_best" and hyper.get("eval_every") for hyper in hypers),
        rows=rows if trim and spec["trainable"] == "all" and "mlm" not in kinds else None,
    )


def machine(kind: str) -> Machine:
    """This machine's memory: of the GPUs that the process may see (`cuda`), or the physical one (`cpu`), less where a
    container may have less. XSTILTS_GPUS: what the workflow books for a job (`environment.prepare` sets it)."""
    ranks = int(os.environ["WORLD_SIZE"]) if "RANK" in os.environ and "WORLD_SIZE" in os.environ else None
    if kind == "cuda":
        import torch

        numbers = range(torch.cuda.device_count())
        sizes = tuple(torch.cuda.get_device_properties(number).total_memory for number in numbers)
        return Machine(kind, sizes, ranks, int(os.environ.get("XSTILTS_GPUS") or 0) or None, _physical())
    return Machine("cpu", (_physical(),), ranks)


def plan(config: Mapping, job: Job, machine: Machine, settings) -> Plan:
    """The first way of training that fits `machine`, by the model's config.json; TooLarge where there is none.

    Tried in order: one device; smaller batches on it; gradient checkpointing; smaller ones still; then the same with
    the weights sharded over all devices. What `settings` name (strategy, devices, gradient_checkpointing) is kept.
    """
    tried = list(_strategies(machine, settings))
    for strategy, size in tried:
        if not machine.holds(sum(host(config, job, strategy, size).values())):
            continue
        for tokens, checkpointing in sizes(job, settings, machine.kind):
            parts = estimate(config, job, strategy, size, tokens, checkpointing, machine.kind)
            if sum(parts.values()) <= machine.usable(size):
                return Plan(strategy, size, tokens, checkpointing, sum(parts.values()), parts)
    from xstilts.training import refusal

    raise TooLarge(refusal.text(config, job, machine, settings, tried))


def estimate(
    config: Mapping, job: Job, strategy: str, size: int, tokens: int, checkpointing: bool, kind: str = "cuda"
) -> dict[str, int]:
    """Part -> bytes on each device, for batches of at most `tokens` tokens there."""
    matrices, norms, embeddings, trained, _ = _counts(config, job)
    stored = 2 if job.precision == "bf16" else 4  # of a frozen matrix: as autocast would cast it
    shares = size if strategy == "fsdp" else 1
    lora, half = job.trainable == "lora", job.precision == "bf16"
    parts = {"weights": 4 * trained // shares, "gradients": 4 * trained // shares}
    parts["optimiser"] = moments(config, job) // shares
    whole_table = config["vocab_size"] * config["hidden_size"]
    if job.trainable != "all":
        parts["frozen"] = 4 * embeddings + (stored * (matrices + norms) // shares if lora else 0)
    elif job.rows is not None:
        parts["frozen"] = 4 * whole_table if kind == "cpu" else 0  # stays in the file on a CPU, at worst read whole
    if strategy == "fsdp":
        block = (matrices + norms) // config["num_hidden_layers"]
        # three blocks on their way, one's gradients before and after the cast; embeddings stay for the whole step
        parts["gathered"] = (4 * stored + 4) * block + (8 * embeddings if job.trainable == "all" else 0)
    elif half and not lora:
        parts["bfloat16 copies"] = 2 * matrices
    parts["activations"] = _activations(config, job, size, tokens, checkpointing)
    if job.keeps_best and kind == "cpu":
        parts["best weights"] = 4 * trained // shares
    parts["process"] = PROCESS
    return {name: int(value) for name, value in parts.items()}


def moments(config: Mapping, job: Job) -> int:
    """Bytes of the optimiser's moments of all trained weights."""
    *_, trained, quantised = _counts(config, job)
    return int(MOMENTS["adamw"] * (trained - quantised) + MOMENTS[job.optimiser] * quantised)


def host(config: Mapping, job: Job, strategy: str, size: int) -> dict[str, int]:
    """Part -> bytes of the memory beside the GPUs, of all processes together.

    A state (weights and moments) is collected there before it is written: by the first process, or each its share.
    The weights of the best step lie there meanwhile, whole in every process where the layout is not sharded.
    """
    *_, trained, _ = _counts(config, job)
    parts = {"state": 4 * trained + moments(config, job), "processes": PROCESS * size}
    if job.keeps_best:
        parts["best weights"] = 4 * trained * (1 if strategy == "fsdp" else size)
    return parts


def _counts(config: Mapping, job: Job) -> tuple[int, int, int, int, int]:
    """Parameters of the blocks' matrices, of their biases and norms, of the embeddings; how many are trained; and of
    these, how many get moments of 8 bits where the optimiser is adamw8bit."""
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    gated = config.get("model_type") == "modernbert"  # two matrices into the feed-forward part
    matrices = layers * (4 * width * width + (3 if gated else 2) * width * inner)
    norms = layers * (9 * width + inner)
    places = 0 if gated else config.get("max_position_embeddings", 512) + config.get("type_vocab_size", 1) + 2
    table = config["vocab_size"] if job.rows is None or job.trainable != "all" else min(job.rows, config["vocab_size"])
    embeddings = (table + places) * width
    # (how many, numbers of each) of the trained tensors outside the embeddings
    tensors = [(len(job.kinds), width * width)]
    if job.trainable == "lora":
        tensors += [(10 * layers, job.rank * width), (2 * layers, job.rank * inner)]
    else:
        tensors += [(4 * layers, width * width), ((3 if gated else 2) * layers, width * inner)]
        tensors += [(9 * layers, width), (layers, inner)]
    trained = sum(number * each for number, each in tensors)
    quantised = sum(number * each for number, each in tensors if each >= SMALLEST)
    return matrices, norms, embeddings, trained + (embeddings if job.trainable == "all" else 0), quantised


def _activations(config: Mapping, job: Job, size: int, tokens: int, checkpointing: bool) -> float:
    """What the forward pass leaves for the backward pass, in batches of `tokens` padded tokens at most."""
    width, layers, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
    longest = min(job.longest, config.get("max_position_embeddings", job.longest))
    sequences = -(-job.batch_size // size) * (MOST_CHOICES if "choice" in job.kinds else 1)
    tokens = max(min(tokens, sequences * longest), longest)
    linear, quadratic = ACTIVATIONS[job.precision]
    block = tokens * width * (linear + quadratic * heads * longest / width)
    # one block more for the gradients on their way
    kept = layers * tokens * width * 4 + 2 * block if checkpointing else (layers + 1) * block
    if "mlm" in job.kinds:  # logits, their softmax, their gradient and the bfloat16 copies
        kept += MASKED * min(tokens, MLM_TOKENS) * config["vocab_size"] * 16
    return kept


def _strategies(machine: Machine, settings) -> Iterator[tuple[str, int]]:
    """(strategy, devices) in the order in which they are tried."""
    there = len(machine.devices) if machine.kind == "cuda" else None
    size = machine.ranks or settings.devices
    if size and there and not machine.ranks and size > there:
        raise UserError(f"devices: {size}, but this process sees {there} GPUs. Allowed here: 1 to {there}")
    if settings.strategy in ("ddp", "fsdp") and not size and not there:
        raise UserError(
            f"strategy: {settings.strategy} on a CPU needs a number of processes: add --devices 2, or leave it at auto"
        )
    there = there and min(there, machine.booked or there)
    if settings.strategy == "one" or (size or there or 1) == 1:
        yield "one", 1
    elif settings.strategy != "auto":
        yield settings.strategy, size or there
    elif size:
        yield from (("ddp", size), ("fsdp", size))
    else:
        yield from (("one", 1), ("fsdp", there))


def sizes(job: Job, settings, kind: str) -> Iterator[tuple[int, bool]]:
    """(tokens in a batch, gradient checkpointing) in the order in which they are tried."""
    tokens, asked = settings.at_once(kind), settings.gradient_checkpointing
    floor = min(tokens, job.longest * (MOST_CHOICES if "choice" in job.kinds else 1))
    halves = [tokens]
    while halves[-1] // 2 > floor:
        halves.append(halves[-1] // 2)
    if halves[-1] > floor:
        halves.append(floor)
    for checkpointing in (False, True) if asked is None else (asked,):
        yield from ((number, checkpointing) for number in halves if number >= ENOUGH_TOKENS or number == tokens)
    for checkpointing in (False, True) if asked is None else (asked,):
        yield from ((number, checkpointing) for number in halves if number < ENOUGH_TOKENS and number != tokens)


def _physical() -> int:
    """Bytes of memory of this machine, or of the container that the process is in."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            found.append(int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(found)
