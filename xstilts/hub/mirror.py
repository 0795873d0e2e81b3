"""A fetched folder: copies of hub data, models and wheels, listed in its manifest.json (written by `xstilts fetch`).

What the manifest lists is the hub's, at the revision that it names. Jobs read it in place of the network, after
size and sha256 were compared, and get the same bytes as from the hub. Everything else in the folder is the user's own
(source `local`).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from xstilts.errors import UserError
from xstilts.files import read_json, sha256, write_text

MANIFEST = "manifest.json"
BACKUP = "manifest.json.bak"  # of equal content, for when the manifest is lost
FORMAT = 1
KINDS = ("data", "model", "wheel", "pool")


@dataclass(frozen=True)
class Mirror:
    """The manifest of one folder. `files`: relative path -> {kind, bytes, sha256, origin, ...}."""

    root: Path
    files: dict[str, dict]

    @classmethod
    def read(cls, root: str | Path | None, name: str = MANIFEST) -> Mirror | None:
        """The mirror in `root`; None where no folder is given or it has no manifest. `name`: MANIFEST or BACKUP.

        UserError: a broken manifest, or one that is missing while its copy is there.
        """
        path = Path(root, name) if root else None
        if path is None or not path.is_file():
            if name == MANIFEST and root and Path(root, BACKUP).is_file():
                raise UserError(f"{path}: no such file, though a fetch filled this folder. {_restore(root)}")
            return None
        try:
            table = read_json(path)
        except UserError as error:
            raise UserError(f"{error}. {_restore(root)}") from error
        if not isinstance(table, dict) or not isinstance(table.get("files"), dict):
            raise UserError(f"{path}: not a manifest of fetched files: it needs `format` and `files`. {_restore(root)}")
        if table.get("format") != FORMAT:
            raise UserError(
                f"{path}: format is {table.get('format')!r}, this version reads {FORMAT}. Next: take the version that "
                "filled the folder, or fetch into another folder"
            )
        for file, row in table["files"].items():
            if wrong := _malformed(file, row):
                raise UserError(f"{path}: files: {file!r}: {wrong}. {_restore(root)}")
        return cls(Path(root), table["files"])

    @property
    def folders(self) -> set[str]:
        """Folders of data of hub origin, as a catalog part names them: `<folder>/<language>/<split>.jsonl`."""
        paths = (PurePosixPath(name) for name, row in self.files.items() if row["kind"] == "data")
        return {path.parent.parent.as_posix() for path in paths}

    def data(self, part: dict, config: str, language: str, split: str) -> Path | None:
        """The verified file of a hub part's filled `config`, our language code and the source's split.

        None: the folder does not hold it. UserError: it does at another revision than `part["revision"]`, or damaged.
        """
        wanted = {"id": part["id"], "config": config, "split": split, "language": language}
        found = self._found("data", wanted)
        return self._of_revision(found, part["id"], part.get("revision")) if found else None

    def model(self, name: str, revision: str | None, files: Iterable[str] = ()) -> Path | None:
        """The folder with a repository's files at a revision, those in `files` (default: all that it lists) verified.

        None: no folder holds all of `files`. UserError: only at another revision, or damaged.
        """
        files, folders = set(files), {}
        for path in self._found("model", {"id": name}):
            folders.setdefault(PurePosixPath(path).parent, {})[self.files[path]["origin"]["file"]] = path
        whole = [held for held in folders.values() if files <= set(held)]
        if not whole:
            return None
        # of several copies that of the model itself: another model's folder has the tokenizer alone
        held = max(whole, key=lambda held: (self._revisions(held.values()) == {revision}, len(held)))
        for file in sorted(files or held):
            self._of_revision([held[file]], name, revision)
        return self.root / PurePosixPath(next(iter(held.values()))).parent

    def wheel(self, package: str, version: str) -> Path | None:
        """The verified wheel of a package's version; None: the folder does not hold it."""
        found = self._found("wheel", {"package": package, "version": version})
        return self.path(found[0]) if found else None

    def path(self, relative: str) -> Path:
        """A listed file, after its size and sha256 were found as listed; else UserError."""
        if wrong := self.wrong(relative):
            raise UserError(f"{self.root / relative}: {wrong}. {_again(self.root)}")
        return self.root / relative

    def wrong(self, relative: str) -> str | None:
        """What is wrong with a listed file: `missing`, its size or its sha256; None: nothing."""
        path, row = self.root / relative, self.files[relative]
        if not path.is_file():
            return "missing"
        if (size := path.stat().st_size) != row["bytes"]:
            return f"damaged: it has {size} bytes, {MANIFEST} says {row['bytes']}"
        digest = sha256(path)
        return None if digest == row["sha256"] else f"damaged: sha256 is {digest}, {MANIFEST} says {row['sha256']}"

    def damaged(self) -> dict[str, str]:
        """Relative path -> what is wrong, of every listed file that is not as listed. Reads all of them."""
        return {name: wrong for name in sorted(self.files) if (wrong := self.wrong(name))}

    def _found(self, kind: str, origin: dict) -> list[str]:
        rows = sorted(self.files.items())
        return [name for name, row in rows if row["kind"] == kind and origin.items() <= row["origin"].items()]

    def _revisions(self, names: Iterable[str]) -> set:
        return {self.files[name]["origin"].get("revision") for name in names}

    def _of_revision(self, names: list[str], source: str, revision: str | None) -> Path:
        """The first of the files at `revision`, verified."""
        for name in names:
            if self.files[name]["origin"].get("revision") == revision:
                return self.path(name)
        others = ", ".join(sorted(map(str, self._revisions(names))))
        raise UserError(
            f"{self.root / names[0]}: is {source} at revision {others}; this job needs {revision} "
            f"(catalog/revisions.lock). {_again(self.root)} Or run with the catalog/revisions.lock that the folder was "
            "fetched with."
        )


def write(root: str | Path, files: dict[str, dict]) -> None:
    """Replace the manifest of `root` and its copy: sorted, equal rows give equal bytes."""
    text = json.dumps({"format": FORMAT, "files": files}, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    for name in (BACKUP, MANIFEST):
        write_text(Path(root, name), text)


def _again(root) -> str:
    """The command that mends a folder; what is whole in it is kept."""
    return f"Where there is network, run: python -m xstilts fetch STUDY --to {shlex.quote(str(root))}"


def _restore(root) -> str:
    """The way out where the manifest is lost or damaged."""
    path, copy = (shlex.quote(str(Path(root, name))) for name in (MANIFEST, BACKUP))
    folder = shlex.quote(str(root))
    if Path(root, BACKUP).is_file():
        return f"Next: cp {copy} {path} && python -m xstilts fetch STUDY --to {folder} --verify"
    return (
        f"There is no copy of it ({BACKUP}). Next, where there is network: mv {path} {path}.damaged && "
        f"python -m xstilts fetch STUDY --to {folder}, which keeps models and wheels and names the data files to move "
        "away, which are made again"
    )


def _malformed(name: str, row) -> str | None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return "must be a path inside the folder"
    if not isinstance(row, dict) or row.get("kind") not in KINDS:
        return f"kind must be one of {', '.join(KINDS)}"
    if not isinstance(row.get("bytes"), int) or not isinstance(row.get("sha256"), str):
        return "needs bytes (a number) and sha256 (a string)"
    if not isinstance(row.get("origin"), dict):
        return "needs origin (where it is from)"
    if row["kind"] == "model" and not isinstance(row["origin"].get("file"), str):
        return "origin needs file (its name in the repository)"
    return None
