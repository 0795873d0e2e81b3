"""Both sides of a training benchmark, each in a process of its own: scripts/train.py, and a plain Hugging Face Trainer.

Both train the same encoder on the same features with the same number of threads. Rates count real tokens (no padding)
over the time of the training steps: starting, loading, tokenizing and evaluating are outside on both sides.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.store import ROOT

_running: set[subprocess.Popen] = set()
RANDOM_BATCHES = "random batches"  # in place of an option of scripts/train.py: by benchmarks/random_batches.py
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Failed(Exception):
    """A side that ended without a measurement; the message is the end of what it said."""


def ours(
    spec: dict,
    model: Path,
    examples: Path,
    threads: int = 2,
    device: str = "cpu",
    options: Sequence[str] = (),
    work: Path | None = None,
    out: Path | None = None,
) -> dict:
    """train.json of one training by scripts/train.py, with `wall_s`, the seconds of its process.

    `options`: further ones of scripts/train.py, or RANDOM_BATCHES; `work`: where encodings and the state of a stopped
    training are kept (None: nowhere that lasts); `out`: where the checkpoint stays (None: it is deleted).
    """
    with tempfile.TemporaryDirectory() as folder:
        place, out = Path(folder), out or Path(folder) / "out"
        (place / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        script = "benchmarks/random_batches.py" if RANDOM_BATCHES in options else "scripts/train.py"
        options = [option for option in options if option != RANDOM_BATCHES]
        command = [sys.executable, str(ROOT / script), "--spec", f"@{place / 'spec.json'}"]
        command += ["--model", model, "--examples", examples, "--out", out, "--work", work or place / "work"]
        seconds = run([*map(str, command), "--threads", str(threads), "--device", device, *options], threads)
        return {**json.loads((out / "train.json").read_text(encoding="utf-8")), "wall_s": round(seconds, 2)}


def peer(job: dict, threads: int = 2) -> dict:
    """What benchmarks/peer.py measures of `job` (its keys: there), with `wall_s`, the seconds of its process."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        job = {**job, "threads": threads, "scratch": str(place / "trainer"), "out": str(place / "result.json")}
        (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
        seconds = run([sys.executable, "-m", "benchmarks.peer", str(place / "job.json")], threads)
        return {**json.loads((place / "result.json").read_text(encoding="utf-8")), "wall_s": round(seconds, 2)}


def peer_is_there() -> bool:
    """Whether Trainer can run here; what is missing is said."""
    missing = [name for name in ("transformers", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"no {' and no '.join(missing)}: only our side is measured (pip install -r envs/bench.txt)", flush=True)
    return not missing


def stop() -> None:
    """End the sides that are running; scripts/train.py keeps its state when it is told to."""
    for process in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def run(command: list[str], threads: int) -> float:
    """Run one side to its end and return its seconds; `Failed` where it ends otherwise."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), "TOKENIZERS_PARALLELISM": "false"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # Linux counts the memory of the process that starts another as the other's peak; a shell between them is small
    between = ["/bin/sh", "-c", '"$@"; exit $?', "sh"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*between, *command],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _running.add(process)
    try:
        out, errors = process.communicate()
    except BaseException:
        stop()
        raise
    finally:
        _running.discard(process)
    if process.returncode:
        said = [line for line in (errors or out).splitlines() if line.strip()]
        raise Failed(f"exit status {process.returncode}: " + " | ".join(said[-3:])[-600:])
    return time.perf_counter() - start


def features(path: Path, task: dict, examples: Sequence[dict], tokenizer) -> dict:
    """Write the training features of our own encoder for the peer, and say what is in them.

    So both sides see the same pieces, the same labels and the same windows. Returns {"features", "mean_length",
    "longest"}. `task`: as in a job's spec.
    """
    from xstilts.data import kinds

    encoded = kinds.get(task["kind"]).encode(examples, tokenizer, task["labels"], task["hyper"], task["options"], True)
    wanted = ("input_ids", "label", "labels", "start", "end")
    kept = [
        {key: [int(n) for n in one[key]] if hasattr(one[key], "__len__") else one[key] for key in wanted if key in one}
        for one in encoded
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept), encoding="utf-8")
    lengths = [len(one["input_ids"]) for one in kept]
    return {
        "features": len(kept),
        "mean_length": round(sum(lengths) / len(lengths), 1),
        "longest": max(lengths),
    }
