"""Which GPU a process takes where there are several: jobs of one machine must not all meet on the first.

A claim is a lock (flock) on a file of `work/gpus/`, one a GPU and machine. The kernel drops it when the process ends,
by SIGKILL too, so nothing has to be cleaned up.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from xstilts.errors import UserError

FOLDER = Path("work") / "gpus"
WAIT_S = 2.0  # between two looks at GPUs that are all taken

_held: dict[str, int] = {}  # name -> file descriptor whose lock this process holds


def names() -> list[str]:
    """The GPUs that this process may see, as CUDA_VISIBLE_DEVICES names them (none: no GPU)."""
    import torch

    count = torch.cuda.device_count()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [name.strip() for name in listed.split(",")][:count] if listed else [str(i) for i in range(count)]


def claim(number: int, among: Sequence[str] | None = None, folder: Path = FOLDER) -> list[str]:
    """`number` GPUs (names as in `names`) that no other process has claimed, for the rest of this process's life.

    Waits until so many are free at once, and holds none while it waits. A process that asks again for as many or fewer
    gets what it has. Without flock (Windows), or where the folder cannot be written, it is the first ones, unclaimed.
    """
    among = list(names() if among is None else among)
    if number > len(among):
        raise UserError(f"{number} GPUs are asked for, this process sees {len(among)}: {', '.join(among) or 'none'}")
    try:
        import fcntl

        folder.mkdir(parents=True, exist_ok=True)
    except (ImportError, OSError):
        return among[:number]
    told = False
    while True:
        for name in among:
            if len(_held) >= number:
                return [name for name in among if name in _held][:number]
            if name not in _held:
                _try(name, folder, fcntl)
        if len(_held) >= number:
            return [name for name in among if name in _held][:number]
        for name in list(_held):  # two that wait for each other's would wait for ever
            os.close(_held.pop(name))
        if not told:
            print(
                f"waiting for {number} of the GPUs {', '.join(among)}: other jobs have them (locks in {folder}). "
                "Choose one by hand with --device cuda:N",
                file=sys.stderr,
                flush=True,
            )
            told = True
        time.sleep(WAIT_S)


def _try(name: str, folder: Path, fcntl) -> None:
    """Take the lock of a GPU if nobody has it."""
    # the machine's name: several may share the folder, and each has a GPU 0
    handle = os.open(folder / f"{socket.gethostname()}-{name.replace('/', '_')}.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held[name] = handle
    except OSError:
        os.close(handle)
