"""Reading and writing files so that a half-written one is never seen."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xstilts.errors import UserError

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield `<path>.part` to write to; rename it to `path` when the block succeeds, delete it when it fails.

    The target is never opened: it may be a link into the artifact store, and writing through it would change the
    stored entry. An `OSError` (disk full, file-size limit, no such place) becomes a `UserError` that names the file.
    """
    target = Path(path)
    part = Path(f"{target}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with open(part, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(part, target)
    except Exception as error:
        _delete(part)
        # safetensors reports a full disk by an exception of its own
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        reason = getattr(error, "strerror", None) or error
        full = not isinstance(error, OSError) or error.errno in _FULL
        todo = "Name a file in a folder that you may write to (ls -ld)"
        if full:
            todo = "Free space or raise the file-size limit (df -h, ulimit -f)"
        raise UserError(
            f"{target}: could not be written ({reason}). Nothing was left half-written. {todo}, then run the same "
            "command again."
        ) from error
    except BaseException:
        _delete(part)
        raise


def _delete(part: Path) -> None:
    """Delete a file that may not be there, or not be possible there."""
    with suppress(OSError):
        part.unlink()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text (newlines as given) through `replacing`."""
    with replacing(path) as part:
        part.write_bytes(text.encode("utf-8"))


def write_json(path: str | os.PathLike, value) -> None:
    """Write `value` as sorted, indented JSON with a final newline: equal values give equal bytes."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


def write_jsonl(path: str | os.PathLike, rows: Iterable[dict]) -> int:
    """Write one JSON object a line; return the number of rows."""
    count = 0
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="\n") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def read_json(path: str | os.PathLike):
    """Parse one JSON file; a missing or broken one is a `UserError` that names it."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON: {error}") from error


def read_jsonl(path: str | os.PathLike) -> list[dict]:
    """Parse a JSON-lines file; errors name the file and the line. A file of no rows is an error too."""
    rows = []
    try:
        with open(path, encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    try:
                        rows.append(json.loads(line))
                    except ValueError as error:
                        raise UserError(f"{path}:{number}: not JSON: {error}") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}") from error
    if not rows:
        raise UserError(f"{path}: holds no examples")
    return rows


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content as 64 hex digits, read piece by piece."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
