"""Runs of scripts/train.py that are killed at drawn moments until one ends; started by tests/test_resume.py.

This process imports what a training needs once and forks a child for every run, which saves two seconds a run. A child
that is to be killed keeps a state after every step and reports what it does through a pipe; its parent draws at which
report, and how long after it, to send the signal.

    python killed_runs.py '[{"name": .., "spec": .., "model": .., "examples": .., "out": .., "work": .., "log": ..,
                             "kills": [[signal, event, damage], ..], "seed": 1}, ..]'

event: step | state | checkpoint (a step begins, a state is being written, the result is being written); damage: none |
newest | all (which states are cut short after the kill). After the last kill a run is left alone. Prints {name: [exit
status of each run, or minus the signal that it died of]}.
"""

import json
import os
import random
import runpy
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from xstilts.models import checkpoints, loading  # noqa: E402, F401
from xstilts.training import launch, optimisation, statefiles  # noqa: E402, F401

REPORTS = {"step": b"s", "state": b"w", "checkpoint": b"c"}


def reporting(pipe: int, event: str) -> None:
    """Report steps, states and checkpoints; write states slowly, in halves and, up to the last kills, at every step."""
    configure, write, save = optimisation.configure, statefiles.write_tensors, checkpoints.save

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

    if event != "checkpoint":
        statefiles.EVERY, statefiles.SHARE = 0.0, float("inf")
    # what waiting for the disk is for, no kill of a process shows: only the time between the parts of a state
    statefiles.write_tensors, os.fsync = report("state", halves), lambda number: time.sleep(0.002)
    optimisation.configure, checkpoints.save = report("step", configure), report("checkpoint", save)


def child(job: dict, kill: list | None, pipe: int, log: int) -> None:
    """Run the script as its command line does, in this process; never returns."""
    os.dup2(log, 1)
    os.dup2(log, 2)
    status = 1
    try:
        if kill:
            reporting(pipe, kill[1])
        sys.argv = ["train.py", "--spec", f"@{job['spec']}", "--threads", "1", "--device", "cpu"]
        sys.argv += [text for key in ("model", "examples", "out", "work") for text in (f"--{key}", job[key])]
        runpy.run_path(str(ROOT / "scripts" / "train.py"), run_name="__main__")
    except SystemExit as error:
        status = error.code
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run(job: dict, kill: list | None, draw: random.Random, log: int) -> int:
    """One run, killed as `kill` says (None: left alone); its exit status, or minus the signal that it died of."""
    reading, writing = os.pipe()
    number = os.fork()
    if number == 0:
        os.close(reading)
        child(job, kill, writing, log)
    os.close(writing)
    if kill:
        left, delay = draw.randint(1, 3) if kill[1] != "checkpoint" else 1, draw.uniform(0.0, 0.012)
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
    statuses = {}
    for job in json.loads(sys.argv[1]):
        draw = random.Random(job["seed"])
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        statuses[job["name"]] = []
        for kill in [*job["kills"], None]:
            statuses[job["name"]].append(run(job, kill, draw, log))
            if kill and kill[2] != "none":
                damage(Path(job["work"]), kill[2])
        os.close(log)
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
