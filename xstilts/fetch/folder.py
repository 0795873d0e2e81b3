"""The folder that `fetch` fills: one fetch at a time, its manifest, and what of a plan is there already.

A file goes into place in two steps, so that a kill between them is no harm: its row enters the manifest, then the
finished temporary file is renamed. A file that no row speaks of is the user's own and never written over.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from xstilts.errors import UserError
from xstilts.fetch import foreign
from xstilts.fetch.plan import Item
from xstilts.hub import client, mirror
from xstilts.hub.mirror import Mirror

PARTIAL = ".partial"
_LOCK = ".fetch.lock"


@contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Hold the folder's lock: a second fetch into it is a UserError. A killed fetch holds it no more."""
    path = root / _LOCK
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = open(path, "a+b", buffering=0)  # noqa: SIM115 (closed below, which ends the lock)
    except OSError as error:
        where = error.filename or root
        raise UserError(
            f"{where}: cannot be written ({error.strerror}). Next: free space, or name another folder (--to)"
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            holder = handle.read().decode(errors="replace").strip() or "unknown process"
            raise UserError(
                f"{root}: another fetch is writing to this folder ({holder}). Wait until it ends, or name another "
                "folder (--to)"
            ) from error
        except OSError as error:
            raise UserError(
                f"{path}: cannot be locked ({error.strerror}); the file system may not know locks. Next: fetch into a "
                "local folder (--to) and copy it"
            ) from error
        with suppress(OSError):  # a note for the message above; a full disk is told where data is written
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        try:
            yield
        finally:
            with suppress(OSError):
                handle.truncate(0)


class Folder:
    """A folder and its manifest. Methods may be called from several threads."""

    def __init__(self, root: Path, say: Callable[[str], None] = print):
        """UserError: the manifest is damaged, or lost though the folder was filled, and has no good copy."""
        self.root = root
        self.partial = root / PARTIAL
        self.out = self.partial / "out"
        there = _read(root, say)
        self.files = dict(there.files) if there else {}
        self._models: dict[str, list[Item]] = {}
        self._lock = threading.Lock()

    def put(self, rows: dict[str, dict]) -> None:
        """Enter finished files: rows into the manifest, then `<partial>/out/<path>` renamed to `<path>`, for each."""
        with self._lock:
            mirror.write(self.root, {**self.files, **rows})
            self.files.update(rows)
            for path in rows:
                (self.root / path).parent.mkdir(parents=True, exist_ok=True)
                os.replace(self.out / path, self.root / path)
            for folder in {"/".join(PurePosixPath(path).parts[:2]) for path in rows}:
                self._drop_replaced(folder)

    def missing(
        self, items: list[Item], pool: Executor, say: Callable[[str], None]
    ) -> tuple[list[Item], dict[str, str], list[str]]:
        """(items to fetch, path -> why one cannot be written, the user's own pools that stand for items).

        Every file that the manifest lists is read and compared; a damaged one is said, and fetched again.
        """
        if self.files and not (self.root / mirror.BACKUP).is_file():
            with suppress(UserError):  # a full disk is told where data is written
                mirror.write(self.root, self.files)
        known = [item for item in items if self._same_origin(item)]
        wrong = dict(zip((item.path for item in known), pool.map(self._wrong, known), strict=True))
        absent = [item for item in items if wrong.get(item.path, "absent")]
        for path, what in wrong.items():
            if what:
                say(f"{path}: {what}; it is fetched again")
        self._say_other_revisions(absent, say)
        absent = self._adopt(absent, pool, say)
        for item in items:
            if item.kind == "model":
                self._models.setdefault(item.folder, []).append(item)
        for name in self._models:
            self._drop_replaced(name)
        self._add_users([item for item in known if not wrong[item.path]])
        refused, own = foreign.in_the_way(self.root, self.files, absent)
        return [item for item in absent if item.path not in refused and item.path not in own], refused, sorted(own)

    def lacking(self, items: list[Item]) -> list[str]:
        """Paths of items that the manifest does not have from their origin, and that are no pools of the user's."""
        absent = [item for item in items if not self._same_origin(item)]
        own = foreign.in_the_way(self.root, self.files, absent)[1]
        return [item.path for item in absent if item.path not in own]

    def _same_origin(self, item: Item) -> bool:
        origin = self.files.get(item.path, {}).get("origin")
        # a pool's row has the digest of its archive too, which is known only afterwards
        return (
            origin is not None and {**origin, **item.origin} == origin and set(origin) - set(item.origin) <= {"sha256"}
        )

    def _wrong(self, item: Item) -> str | None:
        """What is wrong with a listed file. One that a killed run had finished and not renamed is put into place."""
        wrong = Mirror(self.root, self.files).wrong(item.path)
        ready = self.out / item.path
        if wrong and ready.is_file() and client.digest(ready) == self.files[item.path]["sha256"]:
            self.put({item.path: self.files[item.path]})
            return None
        return wrong

    def _say_other_revisions(self, absent: list[Item], say: Callable[[str], None]) -> None:
        old: dict[tuple, int] = {}
        for item in absent:
            there = self.files.get(item.path, {}).get("origin", {}).get("revision")
            if there and there != item.origin.get("revision"):
                key = (item.origin["id"], there, item.origin["revision"])
                old[key] = old.get(key, 0) + 1
        for (name, there, wanted), number in old.items():
            say(
                f"{name}: {number} file(s) are of revision {there[:12]}, catalog/revisions.lock has {wanted[:12]}: "
                "fetched anew"
            )

    def _adopt(self, absent: list[Item], pool: Executor, say: Callable[[str], None]) -> list[Item]:
        """Enter files that no row speaks of and that are what would be fetched (the manifest was lost, or someone
        copied them there); returns the other items."""
        loose = [item for item in absent if item.path not in self.files]
        equal = pool.map(lambda item: foreign.same(self.root, item), loose)
        taken = [item for item, same in zip(loose, equal, strict=True) if same]
        if taken:
            rows = {}
            for item in taken:
                path, known = self.root / item.path, next(iter(item.files.values()), item.source)
                rows[item.path] = row(item, path.stat().st_size, known.get("sha256") or client.digest(path))
            self.files.update(rows)
            mirror.write(self.root, self.files)
            say(f"{paths_of(taken)}: here already, equal to what would be fetched")
        return [item for item in absent if item not in taken]

    def _drop_replaced(self, folder: str) -> None:
        """Delete a model's files of another fetch once all new ones are here: a reader takes all shards it finds.

        New ones without weights (a tokenizer that another model borrows) replace nothing but themselves.
        """
        new = {item.path: item for item in self._models.get(folder, [])}
        if not any(path.endswith(".safetensors") for path in new) or not all(map(self._same_origin, new.values())):
            return
        origins = {(item.origin["id"], item.origin["revision"]) for item in new.values()}
        stale = [
            path
            for path, row in self.files.items()
            if row["kind"] == "model"
            and path.startswith(f"{folder}/")
            and path not in new
            and (row["origin"].get("id"), row["origin"].get("revision")) not in origins
        ]
        for path in stale:
            (self.root / path).unlink(missing_ok=True)
            del self.files[path]
        if stale:
            mirror.write(self.root, self.files)

    def _add_users(self, items: list[Item]) -> None:
        """Name this study's tasks and models too in the rows of files that another study's fetch brought."""
        changed = {}
        for item in items:
            row = self.files[item.path]
            users = sorted({*row.get(users_key(item), []), *item.users})
            if users != row.get(users_key(item)):
                changed[item.path] = {**row, users_key(item): users}
        if changed:
            self.files.update(changed)
            mirror.write(self.root, self.files)


def _read(root: Path, say: Callable[[str], None]) -> Mirror | None:
    """The folder's manifest; where it is damaged or lost its copy takes its place."""
    path = root / mirror.MANIFEST
    try:
        there = Mirror.read(root)
    except UserError as error:
        try:
            there = Mirror.read(root, mirror.BACKUP)
        except UserError:
            there = None
        if there is None:
            raise
        say(f"{error.args[0].split(' Next: ')[0]} Its copy {mirror.BACKUP} takes its place")
        if path.exists():
            os.replace(path, path.with_name(f"{path.name}.damaged"))
        mirror.write(root, there.files)
    return there


def users_key(item: Item) -> str:
    """The manifest's key for who reads a file."""
    return "tasks" if item.kind in ("data", "pool") else "models"


def row(item: Item, size: int, sha256: str, rows: int | None = None, archive: str | None = None) -> dict:
    """The manifest's row of a finished file; `archive`: sha256 of the archive that a pool is from."""
    return {
        "kind": item.kind,
        "bytes": size,
        "sha256": sha256,
        **({} if rows is None else {"rows": rows}),
        users_key(item): sorted(item.users),
        "licence": item.licence,
        "citation": item.citation,
        "origin": {**item.origin, **({"sha256": archive} if archive else {})},
    }


def paths_of(items: Iterable[Item]) -> str:
    """How several files are named in one line: the first, and how many more."""
    paths = [item.path for item in items]
    return paths[0] + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
