"""What a job writes about its own cost: kept apart from results, for it differs between equal runs."""

from __future__ import annotations

import time
from pathlib import Path

from xstilts import files, job, processor
from xstilts.models import runtime


def place(device) -> dict:
    """What a rate was measured on: the device, the processor beside it and the threads."""
    import torch

    described = {"device": runtime.describe(device), "processor": processor.name()}
    return {**described, "threads": torch.get_num_threads()}


class Clock:
    """Seconds and tokens of a job's predictions. Made after the (first) model is loaded: what came before it is
    start-up, which rates leave out."""

    def __init__(self, spec: dict, target: str | None, device):
        self.device = device
        self.row = {key: spec[key] for key in ("stage", "intermediate", "seed", "precision")}
        self.row |= {"model": spec["model"]["name"], "target": target, **place(device)}
        self.startup = time.time() - job.STARTED
        self.start = self.last = time.perf_counter()
        self.tokens = 0

    def lap(self, target: str, tokens: int) -> None:
        """Add one target's tokens and print its speed."""
        now = time.perf_counter()
        seconds, self.last, self.tokens = now - self.last, now, self.tokens + tokens
        print(f"{target}: {tokens} tokens in {seconds:.1f} s ({tokens / seconds:.0f} tokens/s)", flush=True)

    def write(self, path: Path) -> None:
        """Write the cost file: `seconds` of the whole job since its process started, `startup_seconds` of them before
        the first prediction, `tokens_per_s` over the others."""
        seconds = time.perf_counter() - self.start
        self.row |= {
            "seconds": round(self.startup + seconds, 3),
            "startup_seconds": round(self.startup, 3),
            "tokens": self.tokens,
            "tokens_per_s": round(self.tokens / seconds, 1),
            "devices": 1,
        }
        files.write_json(path, self.row | {"peak_memory_mb": runtime.peak_memory_mb(self.device)})
