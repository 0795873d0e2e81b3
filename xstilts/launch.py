"""`make run`: run a study with Snakemake so that a killed run goes on by itself and two runs never collide."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from xstilts import paths
from xstilts.errors import UserError
from xstilts.identity import ROOT


def run(study: str, arguments: list[str], root: Path = ROOT) -> int:
    """Run one study; returns Snakemake's exit status. `arguments` go to Snakemake as they are."""
    if not Path(root, study).is_file():
        known = ", ".join(
            ["config.yaml", *sorted(path.relative_to(root).as_posix() for path in root.glob("studies/*.yaml"))]
        )
        raise UserError(f"STUDY: {study!r} is no file. Allowed: {known}, or a file of your own.")
    _need_the_slurm_plugin(arguments)
    environment = dict(os.environ)
    plugins = str(root / "scripts")
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [plugins, environment.get("PYTHONPATH")]))
    # the user's arguments come first: an option that takes several values would swallow a target after it
    snakemake = [sys.executable, "-m", "snakemake", *arguments, "--configfile", study]
    with only_one_run(root) as lock:
        if any((root / ".snakemake" / "locks").glob("*")):
            # ours is the only run: what locks there are belong to one that was killed
            subprocess.run([*snakemake, "--unlock"], cwd=root, env=environment, capture_output=True, check=False)
        start = time.monotonic()
        status, interrupted = _wait([*snakemake, "--logger", "xstilts"], root, environment, lock)
    if status == 0 and not {"-n", "--dry-run", "--dryrun", "--lint", "--summary"} & set(arguments):
        name = yaml.safe_load(Path(root, study).read_text(encoding="utf-8")).get("study")
        report = Path(paths.fill(paths.REPORT, study=name))
        if (root / report).exists():
            print(f"finished in {time.monotonic() - start:.0f} s. The report: {report}")
    elif interrupted:
        print(
            "interrupted. Finished results are kept, and trainings go on from their last saved step: "
            "run the same command again.",
            file=sys.stderr,
        )
    elif status:
        print(
            "stopped. Finished results are kept: mend what the message says and run the same command again.",
            file=sys.stderr,
        )
    return status


def _need_the_slurm_plugin(arguments: list[str]) -> None:
    """Refuse profiles/slurm where Snakemake lacks its plugin: it would only say that `slurm` is an invalid choice."""
    named = any(Path(word.rpartition("=")[2]).name == "slurm" for word in arguments)
    if named and importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        raise UserError(
            "slurm: Snakemake's plugin for it is not here. Next: "
            f"`{sys.executable} -m pip install snakemake-executor-plugin-slurm`, then write your account and partition "
            "into profiles/slurm/config.yaml."
        )


def _wait(command: list[str], root: Path, environment: dict, lock: int) -> tuple[int, bool]:
    """Run a command that holds the lock too and wait for its clean-up; Ctrl-C reaches it, SIGTERM is passed on.

    Returns its exit status and whether one of the two came.
    """
    process = subprocess.Popen(command, cwd=root, env=environment, pass_fds=(lock,))
    interrupted = False

    def terminate(number, frame) -> None:
        nonlocal interrupted
        interrupted = True
        process.terminate()

    signal.signal(signal.SIGTERM, terminate)
    while True:
        try:
            return process.wait(), interrupted
        except KeyboardInterrupt:
            interrupted = True


@contextmanager
def only_one_run(root: Path) -> Iterator[int]:
    """Hold work/run.lock and yield its descriptor: the lock lasts until every process that inherited it is dead."""
    path = root / "work" / "run.lock"
    path.parent.mkdir(exist_ok=True)
    with open(path, "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.seek(0)
            raise UserError(
                f"another run is going on in this folder (process {handle.read().strip() or 'unknown'})."
            ) from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield handle.fileno()
