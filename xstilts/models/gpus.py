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
SHORT = 10  # tries to be first in the queue, in all that long, before it is said: others may only pass through

_held: dict[str, int] = {}  # name -> file descriptor whose lock this process holds


def names() -> list[str]:
    """The GPUs that this process may see, as CUDA_VISIBLE_DEVICES names them (none: no GPU)."""
    import torch

    count = torch.cuda.device_count()
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [name.strip() for name in listed.split(",")][:count] if listed else [str(i) for i in range(count)]


def claim(number: int, among: Sequence[str] | None = None, folder: Path = FOLDER) -> list[str]:
    """`number` GPUs (names as in `names`) that no other process has claimed, for the rest of this process's life.

    Waits until there are so many. Those that wait are served one after the other: the first in the queue keeps each
    GPU that becomes free until it has enough, so that one that needs several is not overtaken for ever. Who is not
    first holds none. A process that asks again for as many or fewer gets what it has. Where nothing can be locked
    (Windows, a folder that cannot be written) it is the first ones, unclaimed.
    """
    among = list(names() if among is None else among)
    if number > len(among):
        raise UserError(f"{number} GPUs are asked for, this process sees {len(among)}: {', '.join(among) or 'none'}")
    if sum(name in _held for name in among) < number:
        try:
            import fcntl

            folder.mkdir(parents=True, exist_ok=True)
            _gather(number, among, folder, fcntl)
        except (ImportError, OSError) as error:
            print(f"GPUs {', '.join(among[:number])} are taken without a lock: {error}", file=sys.stderr, flush=True)
            return among[:number]
    return [name for name in among if name in _held][:number]


def _gather(number: int, among: Sequence[str], folder: Path, fcntl) -> None:
    """Wait in the queue, then take GPUs as they become free until there are `number` of them."""

    def wait() -> None:
        print(
            f"waiting for {number} of the GPUs {', '.join(among)}: other jobs have them (locks in {folder}). "
            "Choose one by hand with --device cuda:N",
            file=sys.stderr,
            flush=True,
        )

    told = False
    queue = _open(folder, "queue")
    try:
        for _ in range(SHORT):
            if _locked(queue, fcntl):
                break
            time.sleep(WAIT_S / SHORT)
        else:
            while _held:  # the first in the queue may wait for it
                os.close(_held.popitem()[1])
            wait()
            told = True
            fcntl.flock(queue, fcntl.LOCK_EX)
        while True:
            for name in among:
                if name not in _held and sum(one in _held for one in among) < number:
                    handle = _open(folder, name)
                    if _locked(handle, fcntl):
                        _held[name] = handle
                    else:
                        os.close(handle)
            if sum(name in _held for name in among) >= number:
                return
            if not told:
                wait()
                told = True
            time.sleep(WAIT_S)
    finally:
        os.close(queue)


def _open(folder: Path, name: str) -> int:
    """A descriptor of a lock's file; one that another user made need not be writable."""
    # the machine's name: several may share the folder, and each has a GPU 0
    path = folder / f"{socket.gethostname()}-{name.replace('/', '_')}.lock"
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY)


def _locked(handle: int, fcntl) -> bool:
    """Whether the lock could be had at once."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
