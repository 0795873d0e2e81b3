"""What every script of the workflow does around its one call into the library."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from xstilts.errors import UserError


def parser(description: str | None, *options: str) -> argparse.ArgumentParser:
    """A parser with --spec, --threads and --device, and one path option for each name in `options`.

    `--spec` is the job's identity: a JSON object (or `@FILE` holding one) with everything that can change the
    result. The path options and --threads/--device must not be able to change it.
    """
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--spec", required=True, type=_spec, help="JSON object, or @FILE: what to compute")
    result.add_argument("--threads", type=int, default=0, help="CPU threads (0: as the environment says)")
    result.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    result.add_argument("--started", type=Path, help="start marker to write (a job that was adopted has none)")
    for option in options:
        result.add_argument(f"--{option}", type=Path)
    return result


def _spec(text: str) -> dict:
    source = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
    return json.loads(source)


def run(arguments: argparse.Namespace, work: Callable[[], None]) -> None:
    """Set threads, write the start marker, call `work`; a `UserError` ends the process with its message alone."""
    if arguments.threads:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
            os.environ[name] = str(arguments.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if arguments.threads != 1 else "false")
    start = time.time()
    one_of_several = "RANK" in os.environ  # started by a launcher, which has its own last word
    if arguments.started and not one_of_several:
        arguments.started.parent.mkdir(parents=True, exist_ok=True)
        arguments.started.write_text(json.dumps({"pid": os.getpid(), "time": start}) + "\n", encoding="utf-8")
    try:
        work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    if not one_of_several:
        print(f"done in {time.time() - start:.1f} s", flush=True)
