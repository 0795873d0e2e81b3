"""The folder of a training's resumable states: written whole or not at all, checked when read.

A state is a folder `<serial>` with one safetensors file a rank and a manifest: size and sha256 of each file, the
progress, and the manifest's own sha256. It is written as `<serial>.part` and renamed whole; the last two are kept. A
damaged one is named and the older used. One process at a time may be in the folder (see `statelock`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from xstilts.errors import UserError
from xstilts.files import read_json, sha256, write_json
from xstilts.models.checkpoints import write_tensors
from xstilts.training import statelock

EVERY = 120.0  # seconds between two states, at least
SHARE = 0.05  # of the time may go into writing them: slow disks and large models get longer intervals
KEPT = 2
MANIFEST = "manifest.json"
ROWS = ("weight", "best", "moment")  # what a sharded layout cuts along dimension 0


class Saved(NamedTuple):
    """A state as found, its `tensors` as this rank needs them. `same`: it was made by as many ranks in the same layout;
    else the states of the random generators are left out."""

    tensors: dict[str, Tensor]
    progress: dict
    path: Path
    layout: str
    same: bool


class States:
    """The states of one training in `folder`, as rank `rank` of `ranks` sees them.

    In the layout `whole` (one, ddp) rank 0's file has the weights, in `sharded` (fsdp) each rank's file its rows. With
    several ranks all methods but `due` must be called by all of them; `barrier` waits for all, and `agree` gives the
    largest of their numbers. What fails on one rank ends all: the first such rank with its own error, the others with
    status 1 and no words.
    """

    def __init__(
        self,
        folder: Path,
        rank: int = 0,
        ranks: int = 1,
        layout: str = "whole",
        barrier: Callable[[], None] = lambda: None,
        agree: Callable[[int], int] = lambda number: number,
    ):
        self.folder, self.rank, self.ranks, self.layout = folder, rank, ranks, layout
        self.barrier, self.agree = barrier, agree
        self.good: list[Path] | None = None  # the last two that are whole, as far as was looked
        self.saved, self.seconds = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether the next state should be written: after 120 s, or later where that took over 5 % of the time.

        Each rank has its own clock, so all of them must agree on the answer of one.
        """
        return time.monotonic() - self.saved >= max(EVERY, self.seconds / SHARE)

    def save(self, collect: Callable[[], dict[str, Tensor]], progress: dict) -> None:
        """Write the tensors that `collect()` gives and `progress` (JSON), then delete all states but the last two.

        The time that `collect` takes counts for `due`. A disk that is full or may not be written to is a UserError; the
        states of before are left as they were.
        """
        start = time.monotonic()
        newest = self._paths()[-1:]
        final = self.folder / f"{int(newest[0].name) + 1 if newest else 1:06d}"
        part = Path(f"{final}.part")
        if self.rank == 0:
            self._sweep()
        self.barrier()
        try:
            self._together(lambda: self._write(part / _file(self.rank), collect()))
            self._together(lambda: self._publish(part, final, progress))
        except (Exception, SystemExit):  # all ranks are done: nobody is writing
            if self.rank == 0:
                self._sweep()
            raise
        self.saved, self.seconds = time.monotonic(), time.monotonic() - start

    def _together(self, work: Callable[[], None]) -> None:
        """Do `work`; where it fails on a rank, end all of them."""
        error = None
        try:
            work()
        except Exception as caught:
            error = caught
        first = self.ranks - self.agree(self.ranks - self.rank if error else 0)
        if first == self.ranks:
            return
        if self.rank != first:
            sys.exit(1)
        if not isinstance(error, OSError):
            raise error
        raise UserError(
            f"{self.folder}: a state could not be written ({error.strerror}). Those of before are as they were. Free "
            "space or get the right to write there (df -h, ls -ld), then run the same command again."
        ) from error

    def _sweep(self) -> None:
        """Delete what a process left that failed, or was killed while it wrote or deleted."""
        for left in self.folder.glob("*.part"):
            shutil.rmtree(left, ignore_errors=True)

    def _write(self, file: Path, tensors: dict[str, Tensor]) -> None:
        write_tensors(file, tensors)
        write_json(file.with_suffix(".json"), {"bytes": file.stat().st_size, "sha256": sha256(file)})

    def _publish(self, part: Path, final: Path, progress: dict) -> None:
        """Write the manifest, give the folder its name, delete what is not needed any more: rank 0 does it for all."""
        if self.rank:
            return
        files = {}
        for name in map(_file, range(self.ranks)):
            note = (part / name).with_suffix(".json")
            files[name] = read_json(note)
            note.unlink()
        body = {"layout": self.layout, "ranks": self.ranks, "files": files, "progress": progress}
        write_json(part / MANIFEST, {"body": body, "sha256": _digest(body)})
        _sync(part)
        os.replace(part, final)
        _sync(self.folder)
        # a state that `load` found damaged is not one of the last two
        before = self._paths()[:-1] if self.good is None else self.good
        self.good = [*before, final][-KEPT:]
        for path in self._paths():
            if path not in self.good:
                os.replace(path, f"{path}.part")  # so that a kill leaves nothing that looks like a state
                shutil.rmtree(f"{path}.part", ignore_errors=True)

    def load(self) -> Saved | None:
        """The newest whole state, None where there is none; damaged ones are named on stderr and left in their place.

        From here on the folder belongs to this process (and the other ranks). A state of other ranks or another layout
        is put together and dealt out anew. Where no state is whole, but one could not be read for another reason than
        damage (no permission, a broken line to the disk), that is a UserError: it may be whole.
        """
        self._together(lambda: statelock.claim(self.folder) if self.rank == 0 else None)
        self.good, damaged, unread = [], False, None
        for path in reversed(self._paths()):
            saved, error = None, None
            try:
                saved = self._read(path)
            except (UserError, OSError, SafetensorError) as caught:
                error = caught
            first = self.ranks - self.agree(self.ranks - self.rank if error else 0)
            if first == self.ranks:
                if damaged and self.rank == 0:
                    print(f"{path}: going on from this older state", file=sys.stderr, flush=True)
                self.good = [path]
                return saved
            damaged, readable = True, not isinstance(error, OSError) or isinstance(error, FileNotFoundError)
            unread = unread if readable else error
            if first == self.rank:
                what = "is damaged" if readable else "could not be read"
                print(f"{path}: this state {what}: {error}", file=sys.stderr, flush=True)
        self._together(lambda: self._refuse(unread))
        if damaged and self.rank == 0:
            print(f"{self.folder}: no state is whole, the training starts anew", file=sys.stderr, flush=True)
        return None

    def _refuse(self, error: OSError | None) -> None:
        if error is not None:
            raise UserError(
                f"{self.folder}: no state could be read ({error}). Make it possible and run the same command again, or "
                "delete the folder to start anew."
            )

    def clear(self) -> None:
        """Delete all states, and let others have the folder: the training is done."""
        self.barrier()
        if self.rank == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            statelock.leave(self.folder)
        self.good = []
        self.barrier()

    def _read(self, path: Path) -> Saved:
        """A state as this rank needs it; UserError, OSError or SafetensorError where it is damaged."""
        body = _manifest(path)
        for name in self._needed(body):
            _check(path / name, body["files"][name])
        files = [load_file(path / name) for name in self._needed(body)]
        if self._same(body):
            tensors = {name: tensor for file in files for name, tensor in file.items()}
            return Saved(tensors, body["progress"], path, self.layout, True)
        tensors = {}
        for name, tensor in files[0].items():  # one after the other: no rank ever holds all whole tensors
            kind = name.split("/")[0]
            if kind in ROWS and tensor.ndim:
                if body["layout"] == "sharded":
                    tensor = torch.cat([file[name] for file in files if name in file])
                tensor = _rows(tensor, self.rank, self.ranks) if self.layout == "sharded" else tensor
            if kind == "pending":  # shares that add up: one rank has the sum, the others nothing
                tensor = sum(file[name] for file in files) * (self.rank == 0)
            if kind != "random":
                tensors[name] = tensor
        return Saved(tensors, body["progress"], path, body["layout"], False)

    def _same(self, body: dict) -> bool:
        return (body["ranks"], body["layout"]) == (self.ranks, self.layout)

    def _needed(self, body: dict) -> list[str]:
        """The files that this rank reads; what is in a later one stands."""
        ranks = range(body["ranks"])
        if self._same(body):
            ranks = [self.rank] if self.layout == "sharded" else sorted({0, self.rank})
        return [_file(rank) for rank in ranks]

    def _paths(self) -> list[Path]:
        """The states, oldest first, damaged ones too."""
        paths = self.folder.iterdir() if self.folder.is_dir() else []
        return sorted(path for path in paths if len(path.name) == 6 and path.name.isascii() and path.name.isdigit())


def _manifest(path: Path) -> dict:
    """The body of a state's manifest, checked against its sha256; UserError where it is damaged."""
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("sha256") != _digest(manifest.get("body")):
        raise UserError(f"{MANIFEST}: does not have the sha256 that it names")
    return manifest["body"]


def _check(file: Path, note: dict) -> None:
    """UserError where a file is not the one that was written."""
    size = file.stat().st_size
    if size != note["bytes"]:
        raise UserError(f"{file.name} has {size} bytes, not {note['bytes']}")
    if sha256(file) != note["sha256"]:
        raise UserError(f"{file.name} does not have the sha256 of {MANIFEST}")


def _digest(body) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode("utf-8")).hexdigest()


def _rows(whole: Tensor, rank: int, ranks: int) -> Tensor:
    """A copy of a rank's rows as FSDP2 deals them out: like torch.chunk, and the last ranks may have none."""
    size = -(-len(whole) // ranks)
    return whole[rank * size : (rank + 1) * size].clone()


def _file(rank: int) -> str:
    return f"rank{rank}.safetensors"


def _sync(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
