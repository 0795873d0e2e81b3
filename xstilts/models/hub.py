"""A model of the Hugging Face hub at a pinned revision: safetensors only, no code from the repository is ever run.

A folder that `xstilts fetch` filled is read first, then the hub's cache on this machine, then the hub.
"""

from __future__ import annotations

from pathlib import Path

from xstilts.errors import UserError
from xstilts.hub import client, lock, pinned
from xstilts.hub.mirror import MANIFEST
from xstilts.models import local

TOKENIZER = "tokenizer.json"


def build(source: dict, identity: dict, places) -> dict:
    """Build the model of a `hub` source: {id, revision, tokenizer?: {id, revision}}; see `local.build`.

    `tokenizer` names another repository for models that ship none (Multilingual MiniLM uses XLM-R's). `places`
    (models.fetch.Places): the fetched folder and the lock.
    """
    where = f"model {identity.get('name', '')}".strip()
    folder = repository(source["id"], source.get("revision"), places, where)
    other = source.get("tokenizer")
    tokenizer = repository(other["id"], other.get("revision"), places, where, TOKENIZER) if other else folder
    return {**local.read(folder, tokenizer / TOKENIZER), "revision": source["revision"]}


def repository(name: str, revision: str | None, places, where: str, only: str | None = None) -> Path:
    """Folder with the pinned files of a repository (or `only` one of them), each verified; `where` opens messages."""
    pinned.check(name, revision, where)
    table = pinned.rows(name, revision, where, places.revisions)
    # weights in folders below are other exports of the same model
    files = {path: row for path, row in lock.model_files(table, name, where).items() if "/" not in path}
    if only:
        if only not in files:
            raise UserError(f"{where}: {name} at {revision} has no {only}; it has {lock.listed(files)}")
        files = {only: files[only]}
    mirror = places.mirror
    folder = mirror.model(name, revision, files) if mirror else None
    if folder:
        return folder
    try:
        paths = [client.download("model", name, revision, path, row) for path, row in files.items()]
    except UserError as error:
        lacks = f" ({mirror.root / MANIFEST} does not list all files of {name})" if mirror else ""
        raise UserError(f"{error}{lacks}") from error
    return paths[0].parent
