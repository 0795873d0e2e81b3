"""`make bench`: measure what the documentation claims -> benchmarks/results/*.json, with the machine it ran on."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import embedded, labelled_piece, mining, retrieval

RESULTS = Path(__file__).resolve().parent / "results"
ROUNDS = 7


def machine() -> dict:
    """Processor, cores, versions: what a number belongs to."""
    import os

    import torch

    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0].split(":")[1].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": round(os.getloadavg()[0], 1),
    }


def attention() -> list[dict]:
    """One thread, bf16, forward and backward: our attention against torch's, in turn; median milliseconds."""
    import torch
    import torch.nn.functional as F

    from xstilts.models.attention import attend

    torch.set_num_threads(1)
    rows = []
    for size, length in ((32, 22), (32, 48), (16, 60), (64, 128)):
        for dropout in (0.0, 0.1):
            shape = (size, 12, length, 32)
            inputs = [torch.randn(shape, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
            mask = torch.ones(size, 1, 1, length, dtype=torch.bool)
            sides = {
                "ours": lambda i=inputs, m=mask, d=dropout: attend(*i, m, d),
                "torch": lambda i=inputs, m=mask, d=dropout: F.scaled_dot_product_attention(*i, m, d),
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


def main() -> None:
    """Run the named benchmarks (by default those that need minutes and no data)."""
    short = {"attention": attention, "startup": startup, "generator": embedded.speed, "shortcuts": embedded.shortcuts}
    known = short | {"mining": mining.search, "tatoeba": retrieval.tatoeba, "bucc": retrieval.bucc}
    known |= {"labelled_piece": labelled_piece.labelled_piece}
    for name in sys.argv[1:] or short:
        rows = known[name]()
        if not rows:
            continue
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps({"machine": machine(), "rows": rows}, indent=1)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        for row in rows:
            print(name, row)


if __name__ == "__main__":
    main()
