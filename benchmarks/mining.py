"""Exact neighbours in both directions, ours against plain faiss flat search: seconds and peak memory beyond inputs.

    python -m benchmarks.mining 20k 200k --threads 2 [--rounds 1] [--peer-python PYTHON]

Random unit vectors, k = 4. Each side is a process of its own, one after another, with the same number of threads.
faiss is no dependency of the project: `pip install faiss-cpu numpy`, here or in an environment of its own whose
interpreter is named by --peer-python (or the variable FAISS_PYTHON). Without it only our side is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WIDTH, K, TOLERANCE = 384, 4, 1e-5
SIZES = ("200k",)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def search(sizes=SIZES, threads: int = 2, rounds: int = 1, peer_python: str | None = None) -> list[dict]:
    """One row a size: median seconds and largest MiB of each side, ratios, and how far the results agree."""
    peer_python = peer_python or os.environ.get("FAISS_PYTHON", sys.executable)
    sides = {"ours": sys.executable, "faiss": peer_python}
    if subprocess.run([peer_python, "-c", "import faiss"], capture_output=True).returncode:
        del sides["faiss"]
        print("mining: no faiss: pip install faiss-cpu numpy, then --peer-python PYTHON", file=sys.stderr)
    rows = []
    for size in sizes:
        load, taken = os.getloadavg()[0], {side: [] for side in sides}
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(rounds):
                for side, python in sides.items():
                    taken[side].append(_measure(python, side, count(size), threads, folder))
            row = {"vectors": size, "width": WIDTH, "k": K, "threads": threads, "load_before": round(load, 1)}
            for side, results in taken.items():
                row[f"{side}_s"] = round(statistics.median(result["seconds"] for result in results), 2)
                row[f"{side}_cpu_s"] = round(statistics.median(result["cpu_seconds"] for result in results), 2)
                row[f"{side}_mib"] = round(max(result["mib"] for result in results))
            if "faiss" in sides:
                row["ratio"] = round(row["faiss_s"] / row["ours_s"], 2)
                row |= _agreement(*(np.load(Path(folder) / f"{side}.npz") for side in sides))
        rows.append(row)
    return rows


def count(size: str) -> int:
    """ "20k" -> 20,000; "500" -> 500."""
    return int(size.removesuffix("k")) * (1000 if size.endswith("k") else 1)


def _measure(python: str, side: str, size: int, threads: int, folder: str) -> dict:
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    root = Path(__file__).resolve().parents[1]
    environment["PYTHONPATH"] = str(root)
    command = [python, "-m", "benchmarks.mining", "--side", side, str(size), "--threads", str(threads), "--out", folder]
    result = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr}")
    return json.loads(result.stdout)


def _agreement(ours, faiss) -> dict:
    """Largest difference of a value; rows ranked otherwise: faiss decides near ties in float32."""
    difference = max(float(np.abs(ours[f"values{side}"] - faiss[f"values{side}"]).max()) for side in (0, 1))
    assert difference < TOLERANCE, f"results differ by {difference}"
    other = sum(int((ours[f"indices{side}"] != faiss[f"indices{side}"]).sum()) for side in (0, 1))
    return {"largest_difference": float(f"{difference:.1e}"), "indices_that_differ": other}


def _vectors(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sides, float32 (size, WIDTH), rows of length 1; no temporary copy, which the peak would show."""
    generator = np.random.default_rng(0)
    sides = [generator.standard_normal((size, WIDTH), dtype=np.float32) for _ in range(2)]
    for rows in sides:
        rows /= np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    return sides[0], sides[1]


def _ours(source, target, threads):
    import torch

    from xstilts.evaluation.search import both_directions

    torch.set_num_threads(threads)
    return both_directions(source, target, K)


def _faiss(source, target, threads):
    import faiss

    faiss.omp_set_num_threads(threads)
    found = []
    for queries, database in ((source, target), (target, source)):
        index = faiss.IndexFlatIP(WIDTH)
        index.add(database)
        found.append(index.search(queries, K))
        del index
    return found


def _memory(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


def _side(name: str, size: int, threads: int, folder: str) -> None:
    """Measure one side in this process: JSON to standard output, results to `folder`."""
    run = {"ours": _ours, "faiss": _faiss}[name]
    source, target = _vectors(size)
    run(source[:256], target[:256], threads)  # loads the libraries
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, the peak
    before, start, cpu = _memory("VmRSS"), time.perf_counter(), time.process_time()
    found = run(source, target, threads)
    taken = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({**taken, "mib": (_memory("VmHWM") - before) / 1024}))
    arrays = {
        f"{what}{side}": found[side][number] for side in (0, 1) for number, what in enumerate(("values", "indices"))
    }
    np.savez(Path(folder) / f"{name}.npz", **arrays)


def main() -> None:
    """Command line: prints one row a size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sizes", nargs="*", default=SIZES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--peer-python")
    parser.add_argument("--side", choices=("ours", "faiss"), help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        _side(given.side, int(given.sizes[0]), given.threads, given.out)
        return
    for row in search(given.sizes, given.threads, given.rounds, given.peer_python):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
