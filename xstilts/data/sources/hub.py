"""`hub`: parquet data sets of the Hugging Face hub at a pinned revision. Loading scripts are never run.

A folder that `xstilts fetch` filled is read first, then the hub's cache on this machine, then the hub. All three give
equal rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from xstilts.data.sources import Request
from xstilts.errors import UserError
from xstilts.hub import client, lock, parquet, pinned
from xstilts.hub.parts import DEFAULT_CONFIG
from xstilts.hub.mirror import MANIFEST, Mirror


def read(request: Request) -> Iterator[tuple[str, dict]]:
    """Rows of one configuration and split, with class names where the files declare them."""
    part, name = request.part, request.part["id"]
    if request.kind == "retrieval" and request.options["mining"] == "margin":
        raise UserError(
            f"{request.task}: {name} holds the gold pairs only. Mining searches large pools of distractors; with gold "
            "pairs alone F1 is far too high. Use the files of the BUCC 2018 shared task as source `local` "
            "(docs/data.md), or choose sources: [embedded]"
        )
    pinned.check(name, part.get("revision"), request.task)
    config, mirror = request.fill(part.get("config") or DEFAULT_CONFIG), Mirror.read(request.data_root)
    copy = mirror.data(part, config, request.language, request.split) if mirror else None
    if copy:
        with open(copy, encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                yield f"{copy}:{number}", json.loads(line)
        return
    try:
        paths = _download(request, config)
    except UserError as error:
        lacks = f"{request.language} {request.split} of {name} {config}"
        raise UserError(
            f"{error}" + (f" ({mirror.root / MANIFEST} does not list {lacks})" if mirror else "")
        ) from error
    for number, row in enumerate(parquet.rows(paths)):
        yield f"{name} {config} {request.split} row {number}", row


def _download(request: Request, config: str) -> list:
    """The split's files, verified, in the hub's cache on this machine."""
    name, revision = request.part["id"], request.part["revision"]
    table = pinned.rows(name, revision, request.task, request.revisions)
    found = lock.files(table, name, config, request.split, request.task)
    return [client.download("dataset", name, revision, path, row) for path, row in found.items()]
