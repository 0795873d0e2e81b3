"""What is done of a job, so that a killed one goes on; and how a job is parted, so that its bytes stay the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from xstilts.errors import UserError


class Journal:
    """Rows with an `id`, written one at a time to `path`: one JSON line each after a first line with `key`.

    `key`: what the rows depend on (text or JSON value); the rows of another key are thrown away. A row counts once its
    line is whole: what a killed job left half-written is cut off when the journal is opened. A row is in the
    operating system's hands when `add` returns: it survives the process, not a power cut. One process at a time.
    """

    def __init__(self, path: Path | str, key: object):
        self.path = Path(path)
        head = _line({"journal": key})
        self._rows: dict[str, dict] = {}
        whole = 0
        if self.path.is_file():
            whole = self._read(self.path.read_bytes(), head)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if whole:
            with open(self.path, "r+b") as handle:
                handle.truncate(whole)
        self._handle = self.path.open("ab" if whole else "wb")
        if not whole:
            self._handle.write(head)
            self._handle.flush()

    def _read(self, content: bytes, head: bytes) -> int:
        """Bytes of the whole lines, 0 where the journal has another key."""
        if not content.startswith(head):
            return 0
        whole = len(head)
        for line in content[whole:].splitlines(keepends=True):
            try:
                row = json.loads(line)
                self._rows[row["id"]] = row
            except (ValueError, TypeError, KeyError):
                break  # nothing after a broken line is trusted
            if not line.endswith(b"\n"):
                del self._rows[row["id"]]
                break
            whole += len(line)
        return whole

    def done(self) -> dict[str, dict]:
        """id -> row of everything that was added, now or before."""
        return dict(self._rows)

    def add(self, row: dict) -> None:
        """Append one row, which can be read back from now on."""
        line = _line(row)
        self._handle.write(line)
        self._handle.flush()
        self._rows[row["id"]] = json.loads(line)

    def close(self) -> None:
        self._handle.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _line(value: object) -> bytes:
    """One line of JSON in UTF-8; only "\\n" ends a line (JSON escapes it and "\\r" in texts)."""
    return (json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8")


def shard(ids: Iterable[str], number: int, of: int) -> list[str]:
    """The ids of part `number` (0 <= number < of), in their order: by SHA-256, so the same wherever it is asked."""
    return [id for id in ids if _digest(id) % of == number]


def _digest(id: str) -> int:
    return int.from_bytes(hashlib.sha256(id.encode("utf-8", "backslashreplace")).digest()[:8], "big")


def in_order(rows: Iterable[dict], ids: Iterable[str]) -> list[dict]:
    """The rows in the order of `ids`, whatever parts and order they come in; UserError where one is not there."""
    known, ids = {row["id"]: row for row in rows}, list(ids)
    missing = [id for id in ids if id not in known]
    if missing:
        raise UserError(f"{len(missing)} of {len(ids)} examples have no outcome, the first is {missing[0]!r}. Run the "
                        "same command again: what is done is kept.")  # fmt: skip
    return [known[id] for id in ids]
