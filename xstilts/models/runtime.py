"""Where and in which number format a model runs."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import torch

from xstilts.errors import UserError


def device(name: str = "auto") -> torch.device:
    """auto (cuda if there is one, else cpu), cpu, cuda or cuda:N.

    Where several GPUs can be seen, auto is one that no other job has claimed (see `gpus`). In a process that a launcher
    started (one a device), auto and cuda are the GPU of its LOCAL_RANK.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cuda" and "LOCAL_RANK" not in os.environ and torch.cuda.device_count() > 1:
            from xstilts.models import gpus

            name = f"cuda:{gpus.names().index(gpus.claim(1)[0])}"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device {name}: torch {torch.__version__} sees no CUDA device; use --device cpu")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    return torch.device(name)


def lean(precision: str) -> torch.dtype | None:
    """The number format in which matrices that are not trained may be loaded at equal results (None: float32): autocast
    would cast them to it anyway, and keep the float32 ones beside."""
    return torch.bfloat16 if precision == "bf16" else None


def autocast(device: str | torch.device, precision: str):
    """Context manager: matrix products in bfloat16 for "bf16", nothing for "fp32"."""
    if precision not in ("bf16", "fp32"):
        raise UserError(f"precision: {precision!r}, allowed: bf16, fp32")
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16")


def describe(device: torch.device) -> str:
    """Name of the device for records: the GPU's model, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def peak_memory_mb(device: torch.device) -> int:
    """Largest memory so far, in MiB: allocated on the GPU, or the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) // 2**20
    with suppress(OSError):  # Linux: what getrusage says begins with the peak of the process that started this one
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)


def keep_memory() -> None:
    """Let glibc keep freed memory for the next tensors: the kernel else takes the pages back and zeroes new ones.

    Half of a job's system time: 0.6 of 8.8 s of a short training. Without glibc nothing happens.
    """
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD: the most that it accepts
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def leave() -> NoReturn:
    """End the process with status 0, its work being done: Python takes 0.5 s to take torch and a tokenizer apart."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def versions() -> dict[str, str]:
    """Versions that can move the last bits of a result: recorded, never part of an identity.

    Of libraries that are loaded for some methods and encoders alone, those that this process used.
    """
    import platform
    from importlib import metadata

    names = ["torch", "tokenizers", "safetensors", "numpy"]
    names += [name for name in ("transformers", "peft", "bitsandbytes") if name in sys.modules]
    found = {name: metadata.version(name) for name in names if name != "torch"}
    return {"python": platform.python_version(), "torch": torch.__version__, **found}
