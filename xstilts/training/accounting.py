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
MEASURED_S = 0.3  # at most about so long, with what warms up
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


def peak(device, precision: str, cache: Path | None = None) -> float | None:
    """FLOP/s of a large square matrix product on `device` (a torch.device) in `precision` (bf16 or fp32).

    Measured once, best of the products of 0.3 s, and remembered in the JSON file `cache` by device, precision,
    threads and torch version: a machine that was busy then gives a peak too low. None where memory does not suffice.
    No random number stream of a training is touched.
    """
    import torch

    from xstilts.models import runtime

    name = processor.name() if device.type == "cpu" else runtime.describe(device)
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    key = f"{name}, {precision}{threads}, torch {torch.__version__}"
    known = _remembered(cache)
    if key not in known:
        found = _measure(device, torch.bfloat16 if precision == "bf16" else torch.float32)
        if found is None:
            return None
        known = {**_remembered(cache), key: found}
        if cache:
            with suppress(Exception):  # a record must not fail for what only speeds up the next
                write_json(cache, known)
    return known[key]


def _remembered(cache: Path | None) -> dict[str, float]:
    try:
        found = json.loads(cache.read_text(encoding="utf-8")) if cache else {}
        return {key: value for key, value in found.items() if isinstance(value, float) and value > 0}
    except (OSError, ValueError, AttributeError):
        return {}


def _measure(device, dtype) -> float | None:
    """Best rate of repeated products; the first, which may choose and compile kernels, does not count."""
    import torch

    side, generator = SIDE.get(device.type, 4096), torch.Generator(device=device).manual_seed(0)
    side *= 2 if device.type == "cpu" and torch.get_num_threads() > MANY_THREADS else 1
    try:
        with torch.inference_mode():
            # random numbers: a GPU multiplies zeros faster than what a model holds
            a, b = (torch.randn(side, side, device=device, generator=generator).to(dtype) for _ in range(2))
            begin, best = time.perf_counter(), 0.0
            for turn in range(100):
                start = time.perf_counter()
                torch.mm(a, b)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                now = time.perf_counter()
                best = max(best, 2.0 * side**3 / (now - start) if turn else 0.0)
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
    trained: int = 0,
    strategy: str = "one",
    devices: int = 1,
    cache: Path | None = None,
    peak_memory_mb: int | None = None,
) -> dict:
    """The part of train.json that says what a training cost. Everything is of all devices together, but the memory.

    `config`, `parameters`, `squares`, `trainable`, `trained`: as in `flops`; `tokens`: real ones, no padding;
    `seconds`: of the whole job, `training_seconds`: of its steps, which rates are taken over; `cache`: as in `peak`;
    `peak_memory_mb`: of the fullest device (None: as this process saw). mfu is a fraction, None where the peak is.
    """
    import torch

    from xstilts.models import runtime

    # read before the peak is measured, which takes memory itself
    memory = runtime.peak_memory_mb(device) if peak_memory_mb is None else peak_memory_mb
    work = flops(config, parameters, tokens, squares, trainable, trained)
    rate = work / training_seconds if training_seconds else 0.0
    best = peak(device, precision, cache)
    return {
        "examples": examples,
        "tokens": tokens,
        "squares": squares,
        "seconds": round(seconds, 2),
        "training_seconds": round(training_seconds, 2),
        "tokens_per_s": round(tokens / training_seconds, 1) if training_seconds else 0.0,
        "flops": work,
        "flops_per_s": round(rate),
        "peak_flops_per_s": round(best * devices) if best else None,
        "mfu": round(rate / (best * devices), 4) if best else None,
        "peak_memory_mb": memory,
        "versions": runtime.versions(),
        "device": runtime.describe(device),
        "processor": processor.name(),
        "devices": devices,
        "strategy": strategy,
        "precision": precision,
        "trainable": trainable,
        "threads": torch.get_num_threads(),
        "revision": revision(),
    }
