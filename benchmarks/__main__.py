"""`make bench`: measure what the documentation claims -> benchmarks/results/*.json, with the machine it ran on.

    python -m benchmarks [NAME...]     # names: the keys of KNOWN; without one those of SHORT

A long one that was stopped goes on where it was; parts of them: `python -m benchmarks.training --help`.
"""

from __future__ import annotations

import importlib
import signal
import statistics
import subprocess
import sys
import time

from benchmarks import store

ROUNDS = 7


def attention() -> list[dict]:
    """One thread, bf16, forward and backward: our attention against torch's, in turn; median milliseconds."""
    import torch
    import torch.nn.functional as F

    from xstilts.models.attention import attend, bias_of

    torch.set_num_threads(1)
    rows = []
    for size, length in ((32, 22), (32, 48), (16, 60), (64, 128)):
        for dropout in (0.0, 0.1):
            shape = (size, 12, length, 32)
            inputs = [torch.randn(shape, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
            mask = torch.ones(size, length, dtype=torch.int64)
            mask[::2, -1] = 0  # a batch with some padding
            bias, keys = bias_of(mask, torch.bfloat16), mask.bool()[:, None, None]
            sides = {
                "ours": lambda i=inputs, b=bias, d=dropout: attend(*i, b, d),
                "torch": lambda i=inputs, k=keys, d=dropout: F.scaled_dot_product_attention(*i, k, d),
            }
            times = {name: [] for name in sides}
            for _ in range(ROUNDS):
                for name, run in sides.items():
                    run().sum().backward()
                    start = time.perf_counter()
                    for _ in range(5):
                        run().sum().backward()
                    times[name].append((time.perf_counter() - start) / 5 * 1e3)
            ours, peer = (round(statistics.median(times[name]), 2) for name in ("ours", "torch"))
            case = {"batch": size, "length": length, "dropout": dropout}
            rows.append({**case, "ours_ms": ours, "torch_ms": peer, "ratio": round(peer / ours, 2)})
    return rows


def startup() -> list[dict]:
    """Wall seconds of a fresh process that imports what a job needs; median."""
    cases = {
        "torch": "import torch",
        "our encoder": "import xstilts.models.loading",
        "transformers encoder": "from transformers.models.bert.modeling_bert import BertModel",
        "planning a study": "import xstilts.specs",
    }
    rows = []
    for name, code in cases.items():
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - start)
        rows.append({"case": name, "seconds": round(statistics.median(times), 2)})
    return rows


# name -> (module, function): imported when it is called, for a GPU machine has not all that the others need
KNOWN = {
    "attention": ("__main__", "attention"),
    "startup": ("__main__", "startup"),
    "generator": ("embedded", "speed"),
    "shortcuts": ("embedded", "shortcuts"),
    "training": ("training", "training"),
    "ablation": ("training", "ablation"),
    "memory": ("training", "memory"),
    "quality": ("quality", "quality"),
    "gpu": ("gpu", "gpu"),
    "mining": ("mining", "search"),
    "tatoeba": ("retrieval", "tatoeba"),
    "bucc": ("retrieval", "bucc"),
    "labelled_piece": ("labelled_piece", "labelled_piece"),
    "attacks": ("attacks", "attacks"),
}
SHORT = ("attention", "startup", "generator", "shortcuts", "training", "ablation", "memory", "quality")
WRITE_THEMSELVES = ("training", "ablation", "memory", "quality", "gpu")  # lists of rows, each with its machine


def main() -> None:
    """Run the named benchmarks (by default those that `make bench` stands for)."""
    names = sys.argv[1:] or SHORT
    for name in names:
        if name not in KNOWN:
            sys.exit(f"error: no benchmark {name!r}; allowed: {', '.join(KNOWN)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends as well
    for name in names:
        module, function = KNOWN[name]
        rows = getattr(importlib.import_module(f"benchmarks.{module}"), function)()
        if rows and name not in WRITE_THEMSELVES:
            store.write(store.RESULTS / f"{name}.json", {"machine": store.machine(), "rows": rows})
        for row in rows:
            print(name, {key: value for key, value in row.items() if key not in ("machine", "versions")})


if __name__ == "__main__":
    main()
