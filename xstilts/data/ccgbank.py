"""Which files of a user's CCGbank (LDC2005T13) hold a split. Planning imports this: no sentence is read here.

A path is a folder with a file for each split (NAMES), or the LDC's own folder with `data/AUTO/<section>/wsj_*.auto`,
or one file of sentences, which serves where the catalog holds dev out of train. The sections of a split are those of jiant, whose data X-STILTs used; they stand for
`train` and `dev` in the catalog's `splits`, which may name others ("02-21" and "00" are usual in work on supertagging).
"""

from __future__ import annotations

import re
from pathlib import Path

from xstilts.errors import UserError

# read: nyu-mll/jiant at 336a67f, scripts/ccg/ccg_proc.py (02-21, 00, 23 in AUTO: several public CCGbank readers)
SECTIONS = {"train": "00-18", "dev": "19-21", "test": "22-24"}
NAMES = ("{}.jsonl", "{}.txt", "{}.tsv", "ccg.{}")
IDS = "tags_to_id.json"
AUTO = (".", "AUTO", "data/AUTO", "ccgbank_1_1/data/AUTO")
ALLOWED = (
    "a folder with train.* and dev.* (.jsonl, .txt or .tsv; or jiant's ccg.train and ccg.dev), or CCGbank's own folder "
    "with data/AUTO/<section>/wsj_*.auto (docs/data.md); one file of sentences only with "
    "`dev: {from: train, hold_out: 0.1}` under splits in catalog/tasks/ccg.yaml"
)


def files(root: Path, split: str) -> list[Path]:
    """The files of one split in reading order; a UserError says what is there and what is allowed."""
    if not root.exists():
        raise UserError(f"{root}: does not exist. Allowed: {ALLOWED}")
    if root.is_file():
        if split == "train":
            return [root]
        raise UserError(
            f"{root}: one file is read as training sentences and holds no split {split!r}. Allowed: {ALLOWED}"
        )
    found = [root / name.format(split) for name in NAMES if (root / name.format(split)).is_file()]
    if len(found) > 1:
        raise UserError(f"{root}: {' and '.join(path.name for path in found)} are both {split!r}: keep one of them")
    return found or _sections(root, split)


def inputs(root: Path, split: str) -> list[Path]:
    """`files`, and the table of ids that lies beside them."""
    found = files(root, split)
    table = ids(found[0])
    return [*found, table] if table else found


def ids(path: Path) -> Path | None:
    """The tags_to_id.json beside a file, if there is one."""
    table = path.parent / IDS
    return table if table.is_file() else None


def _sections(root: Path, split: str) -> list[Path]:
    """The .auto files of a split's sections of CCGbank's own distribution."""
    base = next((root / name for name in AUTO if any(_section(path) for path in _entries(root / name))), None)
    named = re.fullmatch(r"(\d\d)(?:-(\d\d))?", SECTIONS.get(split, split))
    if base is None or not named:
        there = [path.name + "/" * path.is_dir() for path in _entries(root)]
        shown = ", ".join(there[:10]) + (f" and {len(there) - 10} more" if len(there) > 10 else "")
        names = ", ".join(name.format(split) for name in NAMES)
        raise UserError(
            f"{root}: has no {split!r}: none of {names}, and no sections of .auto files; it has: "
            f"{shown or 'nothing'}. Allowed: {ALLOWED}"
        )
    found = []
    for number in range(int(named[1]), int(named[2] or named[1]) + 1):
        section = base / f"{number:02d}"
        here = [path for path in _entries(section) if path.suffix == ".auto"]
        if not here:
            raise UserError(f"{section}: no .auto file; {split!r} is made of sections {named[0]} of CCGbank")
        found += here
    return found


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _section(path: Path) -> bool:
    return path.is_dir() and re.fullmatch(r"\d\d", path.name) is not None
