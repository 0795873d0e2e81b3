"""catalog/revisions.lock: which commit of each hub repository is used, and which of its files.

One row an id, written by `python -m xstilts pin`: {revision, kind: dataset|model, pinned_on, configs (data sets:
configuration -> split -> [path]), files: {path: {bytes, sha256}}}. A file kept in git itself has `sha1` (the id of its
git blob) in place of `sha256`. Only the standard library and yaml are imported: planning and the jobs read this.
"""

from __future__ import annotations

import difflib
import fcntl
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import yaml

from xstilts.errors import UserError
from xstilts.files import write_text

DEFAULT = Path(__file__).resolve().parents[2] / "catalog" / "revisions.lock"
KINDS = ("dataset", "model")
_HEADER = """\
# Hub revisions in use, and the files needed of each: written by `python -m xstilts pin`, never by hand.
# id -> {revision, kind, pinned_on, configs: {config: {split: [path]}}, files: {path: {bytes, sha256 or sha1}}}
# Empty: nothing is pinned yet, and a run that needs the hub refuses. sha1: the file's git blob id.
"""


def read(path: Path = DEFAULT) -> dict[str, dict]:
    """Rows of a lock by id; no file: none. UserError: not YAML, or a row that `pin` cannot have written."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        rows = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}. {_again(path)}") from error
    if not isinstance(rows, dict):
        raise UserError(f"{path}: expected `id: row` lines, found a {type(rows).__name__}. {_again(path)}")
    for name, row in rows.items():
        fault = _fault(row)
        if fault:
            raise UserError(f"{path}: {name}: {fault}. {_again(path, name)}")
    return rows


def write(path: Path, rows: dict[str, dict]) -> None:
    """Replace a lock by `rows`, sorted by id, one file a line; the old lock stays whole until the new one is."""
    ordered = {name: rows[name] for name in sorted(rows)}
    body = yaml.safe_dump(ordered, sort_keys=False, default_flow_style=None, width=10_000, allow_unicode=True)
    write_text(path, _HEADER + body)


def update(path: Path, new: dict[str, dict]) -> dict[str, dict]:
    """Put rows into a lock as it is now on the disk and return it all: another process may have written meanwhile.

    The lock's folder is locked while it is read and replaced, so that no row of either process is lost.
    """
    path = Path(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: the moment of reading and writing is short
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        rows = read(path) | new
        write(path, rows)
    finally:
        os.close(descriptor)
    return rows


def files(rows: dict[str, dict], name: str, config: str, split: str, where: str) -> dict[str, dict]:
    """Path -> {bytes, sha256 or sha1} of one split of a data set, in reading order.

    `where` opens the UserError for what is not pinned, or not in the pinned row: usually the task's name.
    """
    row = _row(rows, name, "dataset", where)
    place = f"{where}: {name} at {row['revision'][:12]}"
    splits = _chosen(row["configs"], config, "configuration", place)
    paths = _chosen(splits, split, f"configuration {config!r} with a split", place)
    return {path: row["files"][path] for path in paths}


def model_files(rows: dict[str, dict], name: str, where: str) -> dict[str, dict]:
    """Path -> {bytes, sha256 or sha1} of the files needed of a model repository; UserError where it is not pinned."""
    return dict(_row(rows, name, "model", where)["files"])


def _row(rows: dict[str, dict], name: str, kind: str, where: str) -> dict:
    if name not in rows:
        raise UserError(
            f"{where}: {name} has no pinned revision in catalog/revisions.lock; run `python -m xstilts pin` where the "
            "hub can be reached"
        )
    if rows[name]["kind"] != kind:
        raise UserError(f"{where}: {name} is pinned as a {rows[name]['kind']}, needed as a {kind}")
    return rows[name]


def _chosen(options: dict, key: str, what: str, where: str):
    if key in options:
        return options[key]
    close = difflib.get_close_matches(key, options, 1)
    raise UserError(
        f"{where}: catalog/revisions.lock has no {what} {key!r}; it has {listed(options)}"
        + (f" (did you mean {close[0]!r}?)" if close else "")
        + ". Was the catalog changed since? Next: python -m xstilts pin"
    )


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names in one line, the first `most` of them and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "nothing") + more


def _fault(row) -> str | None:
    """What is wrong with a row, in the order in which it would be noticed."""
    if not isinstance(row, dict):
        return f"expected {{revision, kind, files}}, found {row!r}"
    if not isinstance(row.get("revision"), str) or not re.fullmatch(r"[0-9a-f]{40}", row["revision"]):
        return f"revision: {row.get('revision')!r} is no commit of 40 hex digits"
    if row.get("kind") not in KINDS:
        return f"kind: {row.get('kind')!r}; allowed: {', '.join(KINDS)}"
    files, configs = row.get("files"), row.get("configs") if row["kind"] == "dataset" else {}
    if not isinstance(files, dict) or not files or not isinstance(configs, dict):
        return "files or configs: missing"
    for path, entry in files.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("bytes"), int) or not {"sha256", "sha1"} & {*entry}:
            return f"files: {path}: {entry!r} is no {{bytes, sha256 or sha1}}"
        if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/"):
            return f"files: {path}: leads out of the repository"
    for config, splits in configs.items():
        lists = [*splits.values()] if isinstance(splits, dict) else [None]
        if not all(isinstance(paths, list) and paths for paths in lists):
            return f"configs: {config}: {splits!r} is no {{split: [path]}}"
        lost = [path for paths in lists for path in paths if not isinstance(path, str) or path not in files]
        if lost:
            return f"configs: {lost[0]} is not under files"
    return None


def _again(path: Path, name: str | None = None) -> str:
    drop = f"Take {name!r} out of it" if name else f"Restore it (git checkout -- {path})"
    return f"{drop} and run `python -m xstilts pin`"
