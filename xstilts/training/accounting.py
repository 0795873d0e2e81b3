"""What a training cost: real tokens, floating-point operations, the share of the device's peak, and by which code.

Operations are counted as in PaLM, appendix B (Chowdhery et al. 2022, arXiv 2204.02311): a multiplication and an
addition are two, recomputation and padding are none. MFU is then useful work a second over the device's peak. The peak
is measured, a large matrix product by the same torch with the same threads, and not read from a data sheet.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from xstilts import processor
from xstilts.files import write_json

ROOT = Path(__file__).resolve().parents[2]
MEASURED_S = 0.15  # about so long, with what warms up
LOOKS = 3  # measurements of a peak that are kept
NEAR_PEAK = 0.9  # an MFU above it says that the peak was measured too low
SIDE = {"cpu": 1024, "cuda": 8192}  # of the square matrices: large enough to be no slower than larger ones
MANY_THREADS = 4  # more than so many need a matrix of twice the side


def flops(
    config: Mapping, parameters: int, tokens: int, squares: int, trainable: str = "all", trained: int = 0
) -> float:
    """Floating-point operations of training steps over `tokens` real tokens.

    `config`: num_hidden_layers L and hidden_size H; `parameters` N: the encoder's, without word embeddings (biases,
    norms and positions are in it: under 2 %); `squares`: the sum of the squared lengths of the sequences, which is
    the number of (query, key) pairs. Forward 2 N a token and 4 L H a pair, and twice that backward: 6 N and 12 L H.
    `trainable` blocks: the same, for every gradient still flows through every block. lora: the gradients of the frozen
    matrices are not computed, 4 N a token and 12 L H a pair; `trained`, the adapters' own parameters, at 6 each.
    none: forward alone, 2 N and 4 L H. Heads are left out (all are small but mlm's, so its MFU is understated).
    """
    layers, width = config["num_hidden_layers"], config["hidden_size"]
    per_token, per_pair = {"lora": (4, 12), "none": (2, 4)}.get(trainable, (6, 12))
    adapters = 6 * trained if trainable == "lora" else 0
    return float(tokens) * (per_token * parameters + adapters) + float(squares) * per_pair * layers * width


def peak(device, what: str, cache: Path | None = None, again: bool = False) -> float | None:
    """What `device` (a torch.device) reaches: FLOP/s of a large square matrix product in bf16 or fp32; `what` memory:
    bytes a second, read and written, of a large copy.

    The most of 0.15 s in each of the first three jobs that ask (and of another one where `again`), so that one busy
    moment does not stand for ever: kept in the JSON file `cache` by device, `what`, threads and torch version. None
    where memory does not suffice. No random number stream of a training is touched.
    """
    import torch

    from xstilts.models import runtime

    name = processor.name() if device.type == "cpu" else runtime.describe(device)
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    key = f"{name}, {what}{threads}, torch {torch.__version__}"
    found = _remembered(cache).get(key, [])
    if again or len(found) < LOOKS:
        new = _measure(device, what)
        found = sorted([*found, *([new] if new else [])])[-LOOKS:]
        if cache and new:
            with suppress(Exception):  # a record must not fail for what only speeds up the next
                write_json(cache, {**_remembered(cache), key: found})
    return max(found, default=None)


def _remembered(cache: Path | None) -> dict[str, list[float]]:
    try:
        found = json.loads(cache.read_text(encoding="utf-8")) if cache else {}
        lists = {key: value if isinstance(value, list) else [value] for key, value in found.items()}
        return {key: own for key, own in lists.items() if all(isinstance(one, float) and one > 0 for one in own)}
    except (OSError, ValueError, AttributeError):
        return {}


def _measure(device, what: str) -> float | None:
    """Best rate of repeated products or copies; the first, which may choose and compile kernels, does not count."""
    import torch

    copying, side = what == "memory", SIDE.get(device.type, 4096)
    if device.type == "cpu":  # a copy must not fit in the processor's cache
        side *= 3 if copying else 2 if torch.get_num_threads() > MANY_THREADS else 1
    work = 8.0 * side**2 if copying else 2.0 * side**3
    generator = torch.Generator(device=device).manual_seed(0)
    try:
        with torch.inference_mode():
            if copying:
                a, b = (torch.ones(side, side, device=device) for _ in range(2))
            else:  # random numbers: a GPU multiplies zeros faster than what a model holds
                dtype = torch.bfloat16 if what == "bf16" else torch.float32
                a, b = (torch.randn(side, side, device=device, generator=generator).to(dtype) for _ in range(2))
            begin, best = time.perf_counter(), 0.0
            for turn in range(100):
                start = time.perf_counter()
                a.copy_(b) if copying else torch.mm(a, b)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                now = time.perf_counter()
                best = max(best, work / (now - start) if turn else 0.0)
                if now - begin > MEASURED_S and turn:
                    break
    except (torch.OutOfMemoryError, MemoryError):
        return None
    return best


def revision(root: Path = ROOT) -> dict | None:
    """{"commit", "dirty"} of this code: dirty where a tracked file differs. None without git or its repository."""
    try:
        top, commit = _git(root, "rev-parse", "--show-toplevel", "HEAD").split()
        if Path(top).resolve() != Path(root).resolve():
            return None  # the code lies inside somebody else's repository
        return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no").strip())}
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    # no lock is taken: another git command may be at work in the same folder
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout


def record(
    *,
    config: Mapping,
    parameters: int,
    trainable: str,
    precision: str,
    device,
    examples: int,
    tokens: int,
    squares: int,
    seconds: float,
    training_seconds: float,
    dev_seconds: float | None = None,
    updates: int | None = None,
    trained: int = 0,
    optimiser: str = "adamw",
    lora_rank: int | None = None,
    strategy: str = "one",
    devices: int = 1,
    cache: Path | None = None,
    peak_memory_mb: int | None = None,
) -> dict:
    """The part of train.json that says what a training cost. Everything is of all devices together, but the memory.

    `config`, `parameters`, `squares`, `trainable`, `trained`: as in `flops`; `tokens`: real ones, no padding;
    `updates`: optimiser steps, of all attempts; `seconds`: of the whole job since its processes started,
    `training_seconds`: of its steps, which rates are taken over, `dev_seconds`: of its looks at English dev;
    `lora_rank`: None without adapters; `cache`: as in `peak`; `peak_memory_mb`: of the fullest device (None: as this
    process saw). mfu is a fraction, and null (`mfu_note` says why) where there is no peak or a rate above it.
    """
    import torch

    from xstilts.models import runtime

    # read before the peak is measured, which takes memory itself
    memory = runtime.peak_memory_mb(device) if peak_memory_mb is None else peak_memory_mb
    work = flops(config, parameters, tokens, squares, trainable, trained)
    rate = work / training_seconds if training_seconds else 0.0
    best = peak(device, precision, cache)
    if best and rate > NEAR_PEAK * best * devices:
        best = peak(device, precision, cache, again=True)
    copied = peak(device, "memory", cache)
    note = None if best else "the peak could not be measured: too little memory was left"
    if best and rate > best * devices:
        note = "the steps were faster than the peak: the machine was busier when that was measured"
    return {
        "examples": examples,
        "tokens": tokens,
        "squares": squares,
        "updates": updates,
        "seconds": round(seconds, 2),
        "training_seconds": round(training_seconds, 2),
        "dev_seconds": None if dev_seconds is None else round(dev_seconds, 2),
        "tokens_per_s": round(tokens / training_seconds, 1) if training_seconds else 0.0,
        "flops": work,
        "flops_per_s": round(rate),
        "peak_flops_per_s": round(best * devices) if best else None,
        "memory_bytes_per_s": round(copied * devices) if copied else None,
        "mfu": None if note else round(rate / (best * devices), 4),
        **({"mfu_note": note} if note else {}),
        "peak_memory_mb": memory,
        "device_memory_mb": _memory_of(device),
        "versions": runtime.versions(),
        "device": runtime.describe(device),
        "processor": processor.name(),
        "devices": devices,
        "strategy": strategy,
        "precision": precision,
        "trainable": trainable,
        "optimiser": optimiser,
        "lora_rank": lora_rank,
        "threads": torch.get_num_threads(),
        "revision": revision(),
    }


def _memory_of(device) -> int:
    """Memory of one such device, in MiB: what a later training there can have."""
    import torch

    from xstilts.training import memory

    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 2**20
    return memory.machine("cpu").devices[0] // 2**20
