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
from contextlib import contextmanager
from pathlib import Path

from xstilts.errors import UserError
from xstilts.fetch.plan import SIDES, Item
from xstilts.hub import client, mirror
from xstilts.hub.mirror import Mirror

PARTIAL = ".partial"
_LOCK = ".fetch.lock"
_SHOWN = 5


@contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Hold the folder's lock: a second fetch into it is a UserError. A killed fetch holds it no more."""
    path = root / _LOCK
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (closed below, which ends the lock)
    except OSError as error:
        raise UserError(f"{root}: cannot be written to ({error.strerror}). Next: name another folder (--to)") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise UserError(
                f"{root}: another fetch is writing to this folder ({handle.read().strip() or 'unknown process'}). "
                "Wait until it ends, or name another folder (--to)"
            ) from error
        except OSError as error:
            raise UserError(
                f"{path}: cannot be locked ({error.strerror}); the file system may not know locks. Next: fetch into a "
                "local folder (--to) and copy it"
            ) from error
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {socket.gethostname()}")
        handle.flush()
        try:
            yield
        finally:
            handle.truncate(0)


class Folder:
    """A folder and its manifest. Methods may be called from several threads."""

    def __init__(self, root: Path):
        self.root = root
        self.partial = root / PARTIAL
        self.out = self.partial / "out"
        there = Mirror.read(root)
        self.files = dict(there.files) if there else {}
        self._lock = threading.Lock()

    def put(self, rows: dict[str, dict]) -> None:
        """Enter finished files: rows into the manifest, then `<partial>/out/<path>` renamed to `<path>`, for each."""
        with self._lock:
            mirror.write(self.root, {**self.files, **rows})
            self.files.update(rows)
            for path in rows:
                (self.root / path).parent.mkdir(parents=True, exist_ok=True)
                os.replace(self.out / path, self.root / path)

    def missing(
        self, items: list[Item], pool: Executor, say: Callable[[str], None]
    ) -> tuple[list[Item], dict[str, str], list[str]]:
        """(items to fetch, path -> why one cannot be written, the user's own pools that stand for items).

        Every file that the manifest lists is read and compared; a damaged one is said, and fetched again.
        """
        known = [item for item in items if self._same_origin(item)]
        wrong = dict(zip((item.path for item in known), pool.map(self._wrong, known), strict=True))
        absent = [item for item in items if wrong.get(item.path, "absent")]
        for path, what in wrong.items():
            if what:
                say(f"{path}: {what}; it is fetched again")
        self._say_other_revisions(absent, say)
        self._drop_stale_models(absent)
        self._add_users([item for item in known if not wrong[item.path]])
        refused, own = self._foreign(absent)
        return [item for item in absent if item.path not in refused and item.path not in own], refused, sorted(own)

    def lacking(self, items: list[Item]) -> list[str]:
        """Paths of items that the manifest does not have from their origin, and that are no pools of the user's."""
        absent = [item for item in items if not self._same_origin(item)]
        own = self._foreign(absent)[1]
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

    def _drop_stale_models(self, absent: list[Item]) -> None:
        """Delete a model's files of another revision that the new one lacks: a reader takes all shards it finds."""
        revisions = {item.origin["id"]: item.origin["revision"] for item in absent if item.kind == "model"}
        stale = [
            path
            for path, row in self.files.items()
            if row["kind"] == "model"
            and row["origin"].get("revision") != revisions.get(row["origin"].get("id"), row["origin"].get("revision"))
            and path not in {item.path for item in absent}
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

    def _foreign(self, absent: list[Item]) -> tuple[dict[str, str], set[str]]:
        """(path -> why it is refused, paths of pools that the user has put there)."""
        refused, own, folders = {}, set(), {}
        for item in absent:
            if item.kind == "pool":
                stem = item.path.rpartition("_")[0]
                paths = [f"{stem}_{side}.jsonl" for side in SIDES]
            else:
                paths = folders.setdefault(item.folder, None) or self._files_of(item)
                folders[item.folder] = paths
            there = [path for path in paths if path not in self.files and (self.root / path).exists()]
            if item.kind == "pool" and len(there) == len(SIDES):
                own.add(item.path)
            elif there:
                more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
                refused[item.path] = (
                    f"{', '.join(str(self.root / path) for path in there[:_SHOWN])}{more}: not of a fetch (not in "
                    f"{mirror.MANIFEST}), never written over. Next: move what is in the way elsewhere, or name another "
                    "folder (--to)"
                )
        return refused, own

    def _files_of(self, item: Item) -> list[str]:
        """Files in the item's folder (wheels, which are of many families: the item's own path)."""
        if item.kind == "wheel":
            return [item.path]
        found = (self.root / item.folder).rglob("*")
        return sorted(path.relative_to(self.root).as_posix() for path in found if not path.is_dir())


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
