"""What a fetch says at its end: what to do next, or why something failed, equal reasons once."""

from __future__ import annotations

import errno
import shlex
from pathlib import Path

from xstilts.errors import UserError
from xstilts.fetch.folder import Folder, paths_of
from xstilts.fetch.hosts import gave_up
from xstilts.fetch.plan import Item
from xstilts.fetch.problems import problems
from xstilts.hub.refusals import Offline, Refused
from xstilts.study import options

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_IN_THE_WAY = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY)
_MB = 1e6


def command(study, root: Path, more: str = "") -> str:
    """The command that fetches a study (None: some study) into `root`."""
    name = shlex.quote(study.file) if study else "STUDY"
    given = options(_given(study)) if study else ""
    return f"python -m xstilts fetch {name} --to {shlex.quote(str(root))}{more}{given}"


def _given(study) -> dict:
    return {key: value for key, value in study.changes.items() if key != "data_root"}


def nothing(study) -> str:
    """Of a study that needs nothing from the network."""
    notes = "".join(f"\nnot brought: {text}" for text in problems(study).all)
    return f"{study.file}: nothing of it comes from the network, so there is nothing to fetch or to verify{notes}"


def reason(error: Exception, subject: str = "") -> str:
    """Why something failed, in equal words for all files that it holds for; `subject`: the repository or address."""
    if isinstance(error, Offline) or gave_up(error):
        return error.reason
    if isinstance(error, Refused) and subject:
        return f"{subject}: {error.reason}"
    if not isinstance(error, OSError):
        return str(error)
    todo = "see its rights (ls -ld)"
    if error.errno in _FULL:
        todo = "free space or raise the file-size limit (df -h, ulimit -f)"
    elif error.errno in _IN_THE_WAY:
        todo = "move elsewhere what is in the way"
    return f"{error.filename or 'a file'} could not be written ({error.strerror or error}). Next: {todo}"


def summary(study, root: Path, wanted: list[Item], failed: dict[str, str], folder: Folder, written: int) -> str:
    """The text after a fetch that wrote so many files; a UserError where something failed (path -> why)."""
    notes = [f"not brought: {text}" for text in problems(study, root).all]
    if failed:
        reasons: dict[str, list[Item]] = {}
        for item in wanted:
            if item.path in failed:
                reasons.setdefault(failed[item.path], []).append(item)
        lines = [f"{paths_of(items)}: {why}" for why, items in reasons.items()]
        raise UserError(
            f"fetch: {len(failed)} of {len(wanted)} files could not be brought; what arrived is in {root}.\n"
            + "".join(f"  {line}\n" for line in [*lines, *notes])
            + f"Then run the same command again: {command(study, root)}"
        )
    size = sum(folder.files[item.path]["bytes"] for item in wanted if item.path in folder.files)
    brought = f"{written} brought now" if written else "nothing was missing"
    # once for the shell, once for the one that make starts
    file = shlex.quote(shlex.quote(study.file))
    arguments = shlex.quote(options({**_given(study), "data_root": str(root)}, "--config "))
    return "\n".join(
        [
            f"{root}: {len(wanted)} files, {size / _MB:,.1f} MB ({brought})",
            *notes,
            "On a machine without network, copy the folder there with the project (and its catalog/revisions.lock), "
            "then:",
            f"  {command(study, root, ' --verify')}",
            f"  make run STUDY={file} ARGS={arguments}",
        ]
    )
