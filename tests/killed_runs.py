"""Runs of scripts/train.py, killed at drawn moments until one ends; started by test_resume.py and test_parallel.py.

This process imports what a training needs once and forks a child for every run, which saves seconds a run; `--devices`
processes are forked from that child, where the real launcher starts new ones. A child that is to be killed keeps a
state after every step and reports what it does through a pipe; its parent draws at which report, and how long after it,
to send the signal.

    python killed_runs.py '[{"name": .., "spec": .., "model": .., "examples": .., "out": .., "work": .., "log": ..,
                             "options": [..], "kills": [[signal, event, damage, most], ..], "seed": 1}, ..]'

event: step | state | look | checkpoint (a step begins, a state is being written, a task's dev data are predicted, the
result is being written), of which 1 to `most` are waited for; damage: none | newest | all (which states are cut short
after the kill). After the last kill a run is left alone. Prints {name: [exit status of each run, or minus the signal
that it died of]}.
"""

import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from xstilts import embedded  # noqa: E402
from xstilts.files import write_jsonl  # noqa: E402
from xstilts.models import checkpoints, loading  # noqa: E402, F401
from xstilts.training import dev, launch, optimisation, parallel, statefiles  # noqa: E402, F401

TAGS = ["ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"]
TAGS += ["PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"]
TASKS = {
    "mnli": {"kind": "pair", "labels": ["entailment", "neutral", "contradiction"], "options": {}},
    "qqp": {"kind": "pair", "labels": ["0", "1"], "options": {}},
    "udpos": {"kind": "tagging", "labels": TAGS, "options": {"scheme": "flat"}},
    "mlm": {"kind": "mlm", "labels": [], "options": {}, "languages": ["en"]},
}
HYPER = {"learning_rate": 3e-3, "batch_size": 4, "max_length": 48, "warmup": 0.1, "weight_decay": 0.01}
HYPER |= {"adam_epsilon": 1e-8, "max_grad_norm": 1.0, "schedule": "linear", "selection": "english_dev_best"}
HYPER |= {"eval_every": 25, "dropout": 0.1, "max_steps": 40, "mask_probability": 0.15}

REPORTS = {"step": b"s", "state": b"w", "look": b"l", "checkpoint": b"c"}


# ---- for the tests
def job_spec(*names: str, hyper=None, **changes) -> dict:
    """The spec of an intermediate task or mixture."""
    tasks = [{"task": name, **TASKS[name], "hyper": HYPER | (hyper or {})} for name in names]
    result = {"stage": "intermediate", "code": "train@1", "model": {"name": "tiny"}, "intermediate": "mix", "seed": 1}
    return {**result, "precision": "bf16", "trainable": "all", "tasks": tasks, **changes}


def write_examples(folder: Path, train: int, dev: int) -> None:
    """Generated examples of all `TASKS`."""
    for task in TASKS:
        name = "text" if task == "mlm" else task
        for split, count in ("train", train), ("dev", dev):
            if (task, split) != ("mlm", "dev"):
                rows = embedded.generate(name, "en", split, count, 1)
                write_jsonl(folder / f"{task}/en/{split}.jsonl", rows)


def job(root: Path, name: str, spec: dict, options=(), kills=(), model="model") -> dict:
    """A job for the command line, in the folder `root`/`name`: its files are out, work and log."""
    (root / name).mkdir()
    (root / name / "spec.json").write_text(json.dumps(spec))
    paths = {file: root / name / file for file in ("out", "work", "log")} | {"spec": root / name / "spec.json"}
    paths |= {"model": root / model, "examples": root / "examples"}
    return {"name": name, "options": options, "kills": kills, "seed": 7} | {key: str(p) for key, p in paths.items()}


def do(jobs: list[dict]) -> dict[str, list[int]]:
    """What the command line prints, after all jobs ended well."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, __file__, json.dumps(jobs)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    statuses = json.loads(done.stdout)
    for one in jobs:
        assert statuses[one["name"]][-1] == 0, Path(one["log"]).read_text()[-3000:]
    return statuses


def arguments(job: dict, device: str = "cpu") -> list[str]:
    """The command line of a job."""
    found = [str(ROOT / "scripts" / "train.py"), "--spec", f"@{job['spec']}", "--threads", "1", "--device", device]
    return [
        *found,
        *(t for key in ("model", "examples", "out", "work") for t in (f"--{key}", job[key])),
        *job["options"],
    ]


# ---- the runs
def reporting(pipe: int, event: str) -> None:
    """Report what is done; write states slowly, in halves and, up to the last kills, at every step."""
    configure, write, save = optimisation.configure, statefiles.write_tensors, checkpoints.save
    evaluate = dev.evaluate

    def report(kind: str, function):
        def reported(*arguments, **options):
            os.write(pipe, REPORTS[kind])
            return function(*arguments, **options)

        return reported

    def halves(path: Path, tensors: dict) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{path}.part").write_bytes(b"half of a state")
        time.sleep(0.004)
        write(path, tensors)

    def slowly(*arguments):
        time.sleep(0.004)
        return evaluate(*arguments)

    if event != "checkpoint":
        statefiles.EVERY, statefiles.SHARE = 0.0, float("inf")
    # what waiting for the disk is for, no kill of a process shows: only the time between the parts of a state
    statefiles.write_tensors, os.fsync = report("state", halves), lambda number: time.sleep(0.002)
    optimisation.configure, checkpoints.save = report("step", configure), report("checkpoint", save)
    dev.evaluate = report("look", slowly)


def forked(size: int, device=None) -> None:
    """In place of `parallel.relaunch`."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
    numbers = []
    for rank in range(size):
        numbers.append(os.fork())
        if numbers[-1] == 0:
            os.environ |= {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            script()
    while numbers:
        ended, status = os.wait()
        numbers.remove(ended)
        if status:  # the others would wait for it
            for number in numbers:
                os.kill(number, signal.SIGKILL)
            sys.exit(1)


def script() -> None:
    """Run the script as its command line does, in this process; never returns."""
    status = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as error:
        status = error.code or 0
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException:
        import traceback

        status = 1
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def child(job: dict, kill: list | None, pipe: int, log: int) -> None:
    """A run of a job; never returns."""
    os.dup2(log, 1)
    os.dup2(log, 2)
    if kill:
        reporting(pipe, kill[1])
    parallel.relaunch = forked
    sys.argv = arguments(job)
    script()


def run(job: dict, kill: list | None, draw: random.Random, log: int) -> int:
    """One run, killed as `kill` says (None: left alone); its exit status, or minus the signal that it died of."""
    reading, writing = os.pipe()
    number = os.fork()
    if number == 0:
        os.close(reading)
        child(job, kill, writing, log)
    os.close(writing)
    if kill:
        left, delay = draw.randint(1, kill[3]), draw.uniform(0.0, 0.012)
        while left and (seen := os.read(reading, 1)):
            left -= seen == REPORTS[kill[1]]
        time.sleep(delay)
        os.kill(number, kill[0])
    while os.read(reading, 1 << 16):
        pass
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def damage(work: Path, which: str) -> None:
    """Cut the newest state's tensors short, or all states'."""
    states = sorted(work.glob("*/[0-9]*[0-9]/rank0.safetensors"))
    for path in states[-1:] if which == "newest" else states:
        os.truncate(path, path.stat().st_size // 2)


def main() -> None:
    """Do the jobs of the command line."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process may have been started without it
    statuses, jobs = {}, json.loads(sys.argv[1])
    if any("--devices" in job["options"] for job in jobs):
        from torch.nn.parallel import DistributedDataParallel  # noqa: F401

        from xstilts.training import sharding  # noqa: F401
    if any(json.loads(Path(job["spec"]).read_text())["trainable"] == "lora" for job in jobs):
        import peft  # noqa: F401
    for job in jobs:
        draw = random.Random(job["seed"])
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        statuses[job["name"]] = []
        for kill in [*job["kills"], None]:
            statuses[job["name"]].append(run(job, kill, draw, log))
            if statuses[job["name"]][-1] == 0:
                break
            if kill and kill[2] != "none":
                damage(Path(job["work"]), kill[2])
        os.close(log)
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
