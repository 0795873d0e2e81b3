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

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
STARTED = time.time()  # of this process, all but: a script imports this module first


def parser(description: str | None, *options: str | tuple[str, str]) -> argparse.ArgumentParser:
    """A parser with --spec, --threads and --device, and one path option for each name, or (name, help), in `options`.

    `--spec` is the job's identity: a JSON object (or `@FILE` holding one) with everything that can change the
    result. The path options and --threads/--device must not be able to change it.
    """
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--spec", required=True, type=_spec, help="JSON object, or @FILE: what to compute")
    result.add_argument("--threads", type=int, default=0, help="CPU threads of the job (0: as the environment says)")
    result.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:N")
    result.add_argument("--started", type=Path, help="start marker to write (a job that was adopted has none)")
    for option in options:
        name, text = (option, None) if isinstance(option, str) else option
        result.add_argument(f"--{name}", type=Path, help=text)
    return result


def _spec(text: str) -> dict:
    source = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
    return json.loads(source)


def run(arguments: argparse.Namespace, work: Callable[[], None]) -> None:
    """Set threads, write the start marker, call `work`; a `UserError` ends the process with its message alone."""
    if arguments.threads:
        share = max(1, arguments.threads // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
        for name in THREADS:
            os.environ[name] = str(share)
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
