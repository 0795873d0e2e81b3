"""`licensed`: data that only the user may have, at a path the user gives (CCGbank, LDC2005T13).

The path is one file, or a folder with a file for each split: `<split>.jsonl` with {"words": [...], "supertags": [...]}
a line, or `<split>.txt` with a sentence a line, as `word|supertag` or `word|POS|supertag` tokens or as space-tokenised
words, a TAB and as many supertags.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xstilts import files
from xstilts.data.sources import Request
from xstilts.errors import UserError

ALLOWED = "a .jsonl file of words and supertags, a .txt file of word|supertag tokens, or a folder of train.*, dev.*"


def read(request: Request) -> Iterator[tuple[str, dict]]:
    """Sentences as {"tokens", "tags"}: the words and their supertags."""
    path = _path(request)
    if path.suffix == ".jsonl":
        for number, row in enumerate(files.read_jsonl(path), 1):
            missing = [name for name in ("words", "supertags") if name not in row]
            if missing:
                raise UserError(f"{path}:{number}: no field {missing[0]!r}; it has: {', '.join(row)}")
            yield f"{path}:{number}", {"tokens": row["words"], "tags": row["supertags"]}
        return
    with open(path, encoding="utf-8") as handle:
        for number, line in enumerate(handle, 1):
            if line.strip():
                yield f"{path}:{number}", _sentence(line, f"{path}:{number}")


def _sentence(line: str, where: str) -> dict:
    if "\t" in line:
        *_, words, supertags = line.rstrip("\n").split("\t")
        return {"tokens": words.split(), "tags": supertags.split()}
    tokens = [token.split("|") for token in line.split()]
    bad = [token for token in tokens if len(token) < 2]
    if bad:
        raise UserError(f"{where}: token {bad[0][0]!r} is not word|supertag")
    return {"tokens": [token[0] for token in tokens], "tags": [token[-1] for token in tokens]}


def _path(request: Request) -> Path:
    key = request.part["path_key"]
    root = request.licensed or (request.data_root / key if request.data_root else None)
    if root is None or not root.exists():
        raise UserError(
            f"{request.task}: its data is licensed and is not shipped. Set `licensed: {key}:` in the study to "
            f"{ALLOWED}; " + ("no path was given" if root is None else f"{root} does not exist")
        )
    if root.is_file():
        return root
    for suffix in (".jsonl", ".txt"):
        if (root / f"{request.split}{suffix}").is_file():
            return root / f"{request.split}{suffix}"
    raise UserError(f"{root}: has neither {request.split}.jsonl nor {request.split}.txt; allowed: {ALLOWED}")
