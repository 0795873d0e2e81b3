"""Small repositories on the fake hub, pinned, and folders as `xstilts fetch` leaves them."""

import hashlib
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
from fake_hub import LFS
from fake_hub_http import git_id

from xstilts import files
from xstilts.hub import lock, mirror

LABELS = {"_type": "ClassLabel", "names": ["entailment", "neutral", "contradiction"]}


def parquet(rows: list[dict], features: dict | None = None) -> bytes:
    """A parquet file; `features` as `datasets` notes them in the metadata."""
    table = pyarrow.Table.from_pylist(rows)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def put_data(hub, lock_path: Path, name: str, tables: dict[str, dict[str, list]], features=None) -> str:
    """Put config -> split -> rows (or a file's bytes) on the hub and into the lock; returns the revision."""
    content, configs = {}, {}
    for config, splits in tables.items():
        for split, rows in splits.items():
            path = f"{config}/{split}-00000-of-00001.parquet"
            content[path] = rows if isinstance(rows, bytes) else parquet(rows, features)
            configs.setdefault(config, {})[split] = [path]
    return pin(hub, lock_path, "dataset", name, content, configs=configs)


def pin(hub, lock_path: Path, kind: str, name: str, content: dict[str, bytes], **more) -> str:
    """Put files on the hub and their row into the lock; returns the revision."""
    revision = hub.add(kind, name, content)
    rows = {path: row(path, data) for path, data in content.items()}
    entry = {"revision": revision, "kind": kind, "pinned_on": "2026-01-01", **more, "files": rows}
    lock.write(lock_path, {**lock.read(lock_path), name: entry})
    return revision


def row(path: str, data: bytes) -> dict:
    """A file's row in the lock: large files have a sha256, others the id of their git blob."""
    digest = {"sha256": hashlib.sha256(data).hexdigest()} if path.endswith(LFS) else {"sha1": git_id(data)}
    return {"bytes": len(data), **digest}


def put_copy(root: Path, path: str, content: bytes | list[dict], kind: str, **origin) -> Path:
    """Add a file to a fetched folder and to its manifest."""
    file = root / path
    if isinstance(content, bytes):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    else:
        files.write_jsonl(file, content)
    found = mirror.Mirror.read(root)
    data = file.read_bytes()
    new = {"kind": kind, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "origin": origin}
    mirror.write(root, {**(found.files if found else {}), path: new})
    return file
