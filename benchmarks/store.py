"""Where measurements are kept: the results of the project, and what a stopped benchmark goes on from."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
WORK = ROOT / "work" / "benchmarks"
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy")


def machine() -> dict:
    """Processor, cores, memory, GPUs, load: what a number belongs to."""
    import torch

    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    found = {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1),
    }
    if torch.cuda.is_available():
        found["gpus"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return found


def versions() -> dict[str, str]:
    """Versions of what is measured and what it is measured against (a package that is not there is left out)."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def write(path: Path, value) -> None:
    """Write JSON under a temporary name, then move it: a stopped benchmark leaves the file of before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def rows(name: str, folder: Path = RESULTS) -> list[dict]:
    """The rows of benchmarks/results/<name>.json, whether a bare list or under `rows`; none where there is no file."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, list) else found["rows"]


def replace(name: str, new: Sequence[dict], keys: Sequence[str], folder: Path = RESULTS) -> list[dict]:
    """Put `new` rows into <name>.json, a bare list, in place of those that agree with one of them in all `keys`."""
    taken = {tuple(row.get(key) for key in keys) for row in new}
    kept = [row for row in rows(name, folder) if tuple(row.get(key) for key in keys) not in taken]
    write(folder / f"{name}.json", [*kept, *new])
    return [*kept, *new]


class Kept:
    """Finished measurements of a benchmark that is under way: a stopped one goes on, a finished one begins anew.

    `state` is what they were measured with (code, versions); measurements of another state are not used.
    """

    def __init__(self, name: str, state: str, folder: Path = WORK):
        self.path, self.state, self.found = folder / f"{name}.json", state, {}
        if self.path.is_file():
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            self.found = stored["found"] if stored["state"] == state else {}

    def get(self, key: str, measure: Callable[[], dict]) -> dict:
        """The measurement `key`: the kept one, else `measure()`, which is then kept."""
        if key not in self.found:
            self.found[key] = measure()
            write(self.path, {"state": self.state, "found": self.found})
        return self.found[key]

    def finish(self) -> None:
        """All is measured and written: the next call measures again."""
        self.path.unlink(missing_ok=True)
