"""Share the artifact store data/ through DVC: push it, take the union with what others pushed, drop entries.

An entry is every file of data/ whose name begins with one provenance hash (`<hash>_model.safetensors`, ...). DVC
holds the whole folder by one pointer, data.dvc, which git versions. `dvc pull -f` would delete local checkpoints that
the pointer does not name (measured), so `pull` adds what is here first and then links in what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from xstilts.errors import UserError
from xstilts.files import replacing
from xstilts.identity import ROOT

POINTER = "data.dvc"
CONFIGURE = "Next: dvc remote add --local -d store /path/to/a/shared/folder (or a URL; see `dvc remote add --help`)"


def push(root: Path = ROOT) -> str:
    """Add the store to DVC and copy to the default remote what it lacks. Returns what to do next."""
    _need_remote(root)
    _need_entries(root)
    before = (root / POINTER).read_text(encoding="utf-8")
    _dvc(root, "add", "data")
    _dvc(root, "push", POINTER)
    size, files = _size(root)
    if (root / POINTER).read_text(encoding="utf-8") == before:
        return f"pushed: {files} files, {size}. {POINTER} is unchanged."
    return (
        f"pushed: {files} files, {size}. Next: git add {POINTER} && git commit -m 'data: share checkpoints' && git push"
    )


def pull(root: Path = ROOT) -> str:
    """Bring in what the committed pointer names and the store lacks; nothing local is lost or overwritten."""
    _need_remote(root)
    pointer = root / POINTER
    incoming = pointer.read_text(encoding="utf-8")
    (root / "data").mkdir(exist_ok=True)
    try:
        _dvc(root, "fetch", POINTER)
        wanted = _listing(root, incoming)
        cache, added = _cache(root), 0
        absent = [row["relpath"] for row in wanted if not (cache / row["md5"][:2] / row["md5"][2:]).is_file()]
        if absent:
            raise _not_there(root, f"{len(absent)} of its {len(wanted)} files, such as {absent[0]}")
        for row in wanted:
            target = root / "data" / row["relpath"]
            if not target.exists():
                _link(cache / row["md5"][:2] / row["md5"][2:], target)
                added += 1
        if any(path.is_file() for path in (root / "data").iterdir()):
            _dvc(root, "add", "data")
        have = {row["relpath"]: row["md5"] for row in _listing(root, pointer.read_text(encoding="utf-8"))}
        differing = [row["relpath"] for row in wanted if have.get(row["relpath"]) != row["md5"]]
    except BaseException:
        pointer.write_text(incoming, encoding="utf-8")
        raise
    size, files = _size(root)
    text = f"pulled: {added} new files; the store now holds {files} files, {size}."
    if differing:
        text += (
            f" {len(differing)} files differ from the remote's and were kept as here: {', '.join(differing[:3])} ..."
        )
    if pointer.read_text(encoding="utf-8") != incoming:
        text += f" {POINTER} now names the union: commit it after your next push."
    return text


def status(root: Path = ROOT) -> str:
    """What the store holds, and how it stands to the pointer and the remote."""
    size, files = _size(root)
    if not (root / POINTER).is_file():
        raise UserError(f"{POINTER} is missing. Next: git checkout {POINTER}")
    known = {row["relpath"] for row in _listing(root, (root / POINTER).read_text(encoding="utf-8"), missing_ok=True)}
    here = {path.name for path in _files(root)}
    lines = [f"data/: {files} files, {size}", f"{POINTER}: {len(known)} files"]
    lines.append(f"here, not in the pointer: {len(here - known)} (python -m xstilts share push)")
    lines.append(f"in the pointer, not here: {len(known - here)} (python -m xstilts share pull)")
    remote = _default_remote(root)
    lines.append(f"default remote: {remote}" if remote else f"no default remote. {CONFIGURE}")
    return "\n".join(lines)


def drop(outputs: list[str], root: Path = ROOT) -> str:
    """Delete the stored entries behind some output files, so that the next run computes them again."""
    if not outputs:
        raise UserError(
            "share drop: name the outputs, such as results/demo/targets/me5-small-l6/none/s1/mnli/model.safetensors"
        )
    hashes = set()
    for output in outputs:
        path = Path(output) if Path(output).is_absolute() else root / output
        store = (root / "data").resolve()
        # one level only: with DVC's symbolic links an entry points on into DVC's cache
        entry = path.parent / os.readlink(path) if path.is_symlink() else path
        if entry.parent.resolve() != store:
            raise UserError(f"{output}: is no link into the artifact store data/. Nothing was dropped.")
        hashes.add(entry.name.split("_")[0].split(".")[0])
    dropped = [path for path in _files(root) if path.name.split("_")[0].split(".")[0] in hashes]
    for path in dropped:
        path.unlink()
    return f"dropped {len(hashes)} entries ({len(dropped)} files). The next run computes them again."


def _files(root: Path) -> list[Path]:
    store = root / "data"
    return sorted(path for path in store.iterdir() if path.is_file()) if store.is_dir() else []


def _size(root: Path) -> tuple[str, int]:
    files = _files(root)
    return f"{sum(path.stat().st_size for path in files) / 1e6:,.0f} MB", len(files)


def _need_entries(root: Path) -> None:
    if not _files(root):
        raise UserError("data/ holds nothing to share yet. Next: make run")


def _need_remote(root: Path) -> None:
    if not (root / POINTER).is_file():
        raise UserError(f"{POINTER} is missing. Next: git checkout {POINTER}")
    if not _default_remote(root):
        raise UserError(f"DVC has no default remote. {CONFIGURE}")


def _default_remote(root: Path) -> str:
    result = subprocess.run(
        [*_command(), "config", "core.remote"], cwd=root, capture_output=True, text=True, check=False
    )
    return result.stdout.strip()


def _command() -> list[str]:
    return [sys.executable, "-m", "dvc"]


def _dvc(root: Path, *arguments: str) -> None:
    result = subprocess.run([*_command(), *arguments, "--quiet"], cwd=root, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(f"dvc {' '.join(arguments)} failed:\n{(result.stderr or result.stdout).strip()}")


def _not_there(root: Path, what: str) -> UserError:
    return UserError(
        f"{POINTER}: the remote {_default_remote(root)!r} lacks {what}. Nothing was changed. Is the remote reachable, "
        "and did whoever committed the pointer push first? Next: dvc remote list; there: python -m xstilts share push"
    )


def _cache(root: Path) -> Path:
    """Folder of DVC's cached objects (it may be shared by several clones)."""
    folder = subprocess.run([*_command(), "cache", "dir"], cwd=root, capture_output=True, text=True, check=True)
    return Path(root, folder.stdout.strip(), "files", "md5")


def _listing(root: Path, pointer: str, missing_ok: bool = False) -> list[dict]:
    """[{md5, relpath}] of a pointer's folder, read from DVC's cache."""
    md5 = yaml.safe_load(pointer)["outs"][0]["md5"]
    path = _cache(root) / md5[:2] / md5[2:]
    if not path.is_file():
        if missing_ok:
            return []
        raise _not_there(root, "its list of files")
    return json.loads(path.read_text(encoding="utf-8"))


def _link(source: Path, target: Path) -> None:
    """Hard link, else a copy, appearing under its name only when whole."""
    with replacing(target) as part:
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
