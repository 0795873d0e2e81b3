"""The user's folder of a `local` model: which of its files are the model, and what is in them. Standard library only.

A folder's identity is the content of its files and never its path: moving it re-runs nothing, changing a byte does.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from xstilts.errors import UserError
from xstilts.files import write_json

VARIABLE = "XSTILTS_MODEL_FOLDERS"  # JSON, model -> folder: how a job finds what its spec knows by content alone
MEMO = Path("work") / "digests.json"
NEXT = "write them with AutoModel.from_pretrained(...).save_pretrained(folder) and the tokenizer's save_pretrained"
_known: dict[str, str] = {}


def place(source: dict, root: Path, where: str) -> Path:
    """The absolute folder of a local source; a relative one is under the project's `root`, ~ is the home folder."""
    if not source.get("folder"):
        raise UserError(f"{where}: identity.source: type local needs `folder`, the folder of its files (docs/own.md)")
    return root / Path(source["folder"]).expanduser()


def publish(folders: dict[str, str]) -> None:
    """Tell the jobs of this process's workflow where each local model lies."""
    os.environ[VARIABLE] = json.dumps(folders)


def files(folder: Path, where: str) -> list[Path]:
    """config.json, tokenizer.json and every *.safetensors; a UserError says what is missing and what is there."""
    at = f"{where}: identity.source.folder: {folder}"
    if not folder.is_dir():
        raise UserError(
            f"{at}: no such folder. Give the folder of config.json, tokenizer.json and *.safetensors; a relative one "
            "is looked for under the project's folder"
        )
    names = sorted(path.name for path in folder.iterdir())
    weights = [folder / name for name in names if name.endswith(".safetensors")]
    missing = [name for name in ("config.json", "tokenizer.json") if name not in names]
    missing += [] if weights else [".safetensors file"]
    if missing:
        pickled = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
        never = f" Pickled weights ({pickled[0]}) are never read." if pickled and not weights else ""
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        raise UserError(f"{at}: holds no {', no '.join(missing)}.{never} It holds: {shown or 'nothing'}. Next: {NEXT}")
    return [folder / "config.json", *weights, folder / "tokenizer.json"]


def digests(paths: list[Path], root: Path) -> dict[str, str]:
    """SHA-256 of each file by name. What was read once is remembered in work/digests.json until the file changes."""
    memo = root / MEMO
    if not _known:
        with suppress(OSError, ValueError):
            _known.update(json.loads(memo.read_text(encoding="utf-8")))
    found, before = {}, len(_known)
    for path in paths:
        stat = path.stat()
        key = ":".join(str(n) for n in (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
        if key not in _known:
            _known[key] = digest(path)
        found[path.name] = _known[key]
    if len(_known) > before:
        with suppress(OSError, UserError):  # a project that cannot be written to is read again each time
            write_json(memo, _known)
    return found


def digest(path: Path) -> str:
    """SHA-256 of one file, read piece by piece."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
