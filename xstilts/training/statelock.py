"""One process at a time in a folder of states; folders that nobody came back for are deleted."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from xstilts.errors import UserError

LOCK = "lock"
WAIT = 60.0  # seconds: a job that is started again may meet its predecessor, which still writes its last state
LOOK = 0.2  # seconds between two looks at a lock that another process has
KEPT = 30 * 86_400.0  # seconds after which a folder that no training touched is deleted

_held: dict[Path, int] = {}  # folder -> file descriptor whose lock this process holds


def claim(folder: Path) -> None:
    """Make `folder` and keep other processes out of it until `leave`, or the end of this process, by SIGKILL too.

    Waits `WAIT` seconds for a process that has it, then raises a UserError that names it. Where the file system has no
    locks nothing is locked. Making a new folder deletes its neighbours (of 32 hex digits) that are old and unused.
    """
    folder = folder.resolve()
    if folder in _held:
        return
    deadline, told, new = time.monotonic() + WAIT, False, not folder.is_dir()
    try:
        while (handle := _try(folder)) is None:
            holder = _holder(folder)
            if time.monotonic() > deadline:
                raise UserError(
                    f"{folder}: {holder} is at this training now (it has the lock). Wait for its end, or stop it, then "
                    "run the same command again: it goes on from the last state."
                )
            if not told:
                print(
                    f"{folder}: waiting {WAIT:.0f} s for {holder}, which is at this training",
                    file=sys.stderr,
                    flush=True,
                )
                told = True
            time.sleep(LOOK)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        os.utime(folder)
    except OSError as error:
        raise UserError(
            f"{folder}: could not be written ({error.strerror}). Name another folder with --work, or free space or get "
            "the right to write there (df -h, ls -ld), then run the same command again."
        ) from error
    _held[folder] = handle
    if new:
        _forget_unused(folder.parent)


def leave(folder: Path) -> None:
    """Let others have the folder."""
    handle = _held.pop(folder.resolve(), None)
    if handle is not None:
        os.close(handle)


def _try(folder: Path) -> int | None:
    """A file descriptor that has the folder's lock; None where another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:  # deleted between these two lines, by a training that came to its end
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:  # no locks here
        return handle
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(handle), os.stat(folder / LOCK)):
            return handle
    os.close(handle)  # the lock of a folder that is gone
    return None


def _holder(folder: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return (folder / LOCK).read_text(encoding="utf-8") or "another process"
    return "another process"


def _forget_unused(parent: Path) -> None:
    """Delete the states of trainings that nobody went on with for 30 days."""
    for path in parent.iterdir():
        with suppress(OSError):
            old = re.fullmatch("[0-9a-f]{32}", path.name) and time.time() - path.stat().st_mtime > KEPT
            if old and path.is_dir() and (handle := _try(path)) is not None:
                shutil.rmtree(path)
                os.close(handle)
