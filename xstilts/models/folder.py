"""The user's folder of a `local` model: which of its files are the model, and what is in them. Standard library only.

A folder's identity is the content of its files and never its path: moving it re-runs nothing, changing a byte does.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from xstilts.errors import UserError
from xstilts.files import read_json, sha256, write_json

VARIABLE = "XSTILTS_MODEL_FOLDERS"  # JSON, model -> folder: how a job finds what its spec knows by content alone
MEMO = Path("work") / "digests.json"
INDEX = "model.safetensors.index.json"
NEXT = (
    "write the folder with AutoModel.from_pretrained(...).save_pretrained(folder) and the tokenizer's save_pretrained"
)
_known: dict[str, str] = {}


def expanded(path: str, where: str) -> Path:
    """A path with ~ as the home folder; a UserError, which `where` opens, where that is no user of this machine."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(
            f"{where}: {path!r}: this machine knows no home folder of {Path(path).parts[0]}. Next: write the path out"
        ) from None


def place(source: dict, root: Path, where: str) -> Path:
    """The absolute folder of a local source; a relative one is under the project's `root`, ~ is the home folder."""
    if not source.get("folder"):
        raise UserError(f"{where}: identity.source: type local needs `folder`, the folder of its files (docs/own.md)")
    return root / expanded(source["folder"], f"{where}: identity.source.folder")


def publish(folders: dict[str, str]) -> None:
    """Tell the jobs of this process's workflow where each local model lies."""
    os.environ[VARIABLE] = json.dumps(folders)


def files(folder: Path, where: str) -> list[Path]:
    """The files that are the model: config.json, its weights, their index where it has one, tokenizer.json.

    UserError: what is missing and what is there, or weights that the index does not name.
    """
    at = f"{where}: identity.source.folder: {folder}"
    if not folder.is_dir():
        raise UserError(
            f"{at}: no such folder. Give the folder of config.json, tokenizer.json and *.safetensors; a relative one "
            "is looked for under the project's folder"
        )
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise UserError(f"{at}: cannot be read: {error.strerror}. Next: see its owner and mode (ls -ld)") from error
    every = [name for name in names if name.endswith(".safetensors")]
    missing = [name for name in ("config.json", "tokenizer.json") if name not in names]
    missing += [] if every or INDEX in names else [".safetensors file"]
    if missing:
        pickled = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
        never = f" Pickled weights ({pickled[0]}) are never read." if pickled and not every else ""
        raise UserError(f"{at}: holds no {', no '.join(missing)}.{never} It holds: {_listed(names)}. Next: {NEXT}")
    read = weights(folder, at)
    others = [name for name in every if name not in [path.name for path in read]]
    if others:
        raise UserError(
            f"{at}: {_listed(others)}: not among the files that {INDEX} names, so that either could be the model. "
            f"Next: move what is not the model out of the folder: this, or {INDEX} and its files"
        )
    index = [folder / INDEX] if INDEX in names else []
    found = [folder / "config.json", *read, *index, folder / "tokenizer.json"]
    for path in found:
        if not path.is_file():
            what = "a folder" if path.is_dir() else "a link to what is not there" if path.is_symlink() else "no file"
            raise UserError(f"{at}: {path.name} is {what}. Next: {NEXT}")
    return found


def weights(folder: Path, at: str = "") -> list[Path]:
    """The safetensors files that are read: those that model.safetensors.index.json names, else all of the folder.

    Of a hub repository, which may have another export beside the index's files, these alone are read as well.
    UserError, which `at` opens: a broken index, or one that names a file that is not there.
    """
    index, at = folder / INDEX, at or str(folder)
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    table = read_json(index)
    table = table.get("weight_map") if isinstance(table, dict) else None
    wanted = list(table.values()) if isinstance(table, dict) else []
    if not wanted or not all(isinstance(name, str) and re.fullmatch(r"[^/\\]+\.safetensors", name) for name in wanted):
        raise UserError(
            f"{at}: {INDEX} needs `weight_map`, an object of tensor -> name of a .safetensors file beside it. "
            f"Next: {NEXT}"
        )
    paths = [folder / name for name in sorted(set(wanted))]
    lost = [path.name for path in paths if not path.is_file()]
    if lost:
        raise UserError(
            f"{at}: holds no {_listed(lost)}, named by its {INDEX}. Next: copy what is missing into the folder, or "
            f"{NEXT}"
        )
    return paths


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return (", ".join(names[:10]) + more) or "nothing"


def digests(paths: list[Path], root: Path) -> dict[str, str]:
    """SHA-256 of each file by name. What was read once is remembered in work/digests.json until the file changes."""
    memo = root / MEMO
    if not _known:
        _known.update(_remembered(memo))
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


def _remembered(memo: Path) -> dict[str, str]:
    """What work/digests.json holds of file -> SHA-256; whatever else is in it is left out, to be computed again."""
    with suppress(OSError, ValueError):
        table = json.loads(memo.read_text(encoding="utf-8"))
        if isinstance(table, dict):
            return {
                key: one for key, one in table.items() if isinstance(one, str) and re.fullmatch("[0-9a-f]{64}", one)
            }
    return {}


def digest(path: Path) -> str:
    """SHA-256 of one file, read piece by piece; a UserError where it cannot be read."""
    try:
        return sha256(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}. Next: see its owner and mode (ls -l)") from error
