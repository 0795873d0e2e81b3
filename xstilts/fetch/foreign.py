"""What lies in the folder and is not of a fetch: never written over, taken where it is what would be fetched."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from xstilts.fetch.plan import SIDES, Item
from xstilts.hub import client, mirror

_SHOWN = 5


def same(root: Path, item: Item) -> bool:
    """Whether the item's place has just what would be fetched, as the lock's (a wheel: the catalog's) digest says.

    Rows of data and pools have no digest before they are made.
    """
    path = root / item.path
    if item.kind not in ("model", "wheel") or not path.is_file():
        return False
    if item.kind == "wheel":
        return client.digest(path) == item.source["sha256"]
    return client.difference(path, next(iter(item.files.values()))) is None


def in_the_way(root: Path, files: dict[str, dict], absent: Iterable[Item]) -> tuple[dict[str, str], set[str]]:
    """(path of an item -> why it cannot be written, paths of pools that the user has put there); `files`: manifest."""
    refused, own, folders = {}, set(), {}
    fetched = any(row["kind"] == "data" for row in files.values())
    for item in absent:
        if blocked := _blocked(root, item.path):
            refused[item.path] = blocked
            continue
        if item.kind == "pool":
            stem = item.path.rpartition("_")[0]
            paths = [f"{stem}_{side}.jsonl" for side in SIDES]
        elif item.kind == "wheel":  # of many families in one folder
            paths = [item.path]
        else:
            if item.folder not in folders:
                folders[item.folder] = _files_of(root, item.folder)
            paths = folders[item.folder]
        there = [path for path in paths if path not in files and os.path.lexists(root / path)]
        if item.kind == "pool" and len(there) == len(SIDES):
            own.add(item.path)
        elif there:
            refused[item.path] = _refusal(root, there, not fetched)
    return refused, own


def _blocked(root: Path, path: str) -> str | None:
    """A file where a folder is needed, or a folder where the file is."""
    for parent in list(PurePosixPath(path).parents)[-2::-1]:
        if os.path.lexists(root / parent) and not (root / parent).is_dir():
            return f"{root / parent}: a file is where a folder is needed. Next: move it elsewhere"
    if (root / path).is_dir():
        return f"{root / path}: a folder is where a file is needed. Next: move it elsewhere"
    return None


def _refusal(root: Path, there: list[str], lost: bool) -> str:
    more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    again = f" If they are of a fetch whose {mirror.MANIFEST} is lost: once moved they are made again."
    return (
        f"{', '.join(str(root / path) for path in there[:_SHOWN])}{more}: not of a fetch (not in {mirror.MANIFEST}), "
        "never written over. Next: move what is in the way elsewhere (use a folder of its own for your data), or name "
        f"another folder (--to).{again if lost else ''}"
    )


def _files_of(root: Path, folder: str) -> list[str]:
    """Files in a family's folder; dot files (of a desktop, of git) are nobody's data."""
    found = (path.relative_to(root) for path in (root / folder).rglob("*") if not path.is_dir())
    family = len(PurePosixPath(folder).parts)
    return sorted(path.as_posix() for path in found if not any(part[0] == "." for part in path.parts[family:]))
