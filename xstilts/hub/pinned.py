"""The lock as a job reads it: only at the revision that the job was planned with."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from xstilts.errors import UserError
from xstilts.hub import lock


def check(name: str, revision: str | None, where: str) -> None:
    """A job's revision must be a full commit hash: no branch, which others may move. `where` opens the UserError."""
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise UserError(
            f"{where}: {name} has no pinned revision in catalog/revisions.lock (revision is {revision!r}, expected the "
            "40 digits of one commit); run `python -m xstilts pin`"
        )


def rows(name: str, revision: str, where: str, path: Path | None = None) -> dict[str, dict]:
    """The lock's rows (`path`: default catalog/revisions.lock) with `name` at the job's revision; else UserError."""
    path = Path(path or lock.DEFAULT)
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    table = _read(path, changed)
    pinned = table.get(name, {}).get("revision", revision)
    if pinned != revision:
        raise UserError(
            f"{where}: {name}: this job needs revision {revision}, and {path} has {pinned}: it was pinned again since "
            "the run was planned. Start the same command again, which plans anew"
        )
    return table


@functools.lru_cache(maxsize=1)
def _read(path: Path, changed: int) -> dict[str, dict]:
    """The lock, parsed once a process: a job asks once a language and split."""
    return lock.read(path)
