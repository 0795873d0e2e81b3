"""`licensed`: data that only the user may have, at a path the user gives (CCGbank, LDC2005T13).

Forms of a file (xstilts/data/ccgbank.py says which file is read):

- `.jsonl`: an object of words and supertags a line, two lists of equal length
- `.auto`: CCGbank's own derivations, a line `ID=...` and a line of the tree; its leaves are
  `(<L category POS POS word category-with-heads>)` (the corpus's own AUTO.readme)
- any other: a sentence a line, `words<TAB>supertags`, each separated by spaces (jiant's form), or `word|supertag` or
  `word|POS|supertag` tokens

Supertags may be numbers in the first and the third form: `tags_to_id.json` beside the file names them. Words stay as
the file has them (`-LRB-`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from xstilts import files
from xstilts.data import ccgbank
from xstilts.data.sources import Request
from xstilts.errors import UserError

# of a tree line: a leaf, an opened inner node, or the end of one
PIECE = re.compile(r"\s*(?:\(<L (\S+) \S+ \S+ (\S+) \S+>\)|(\(<T [^<>]*>)|(\)))")


def read(request: Request) -> Iterator[tuple[str, dict]]:
    """Sentences with words and supertags under the part's own field names, and an id where the file has one."""
    if request.licensed is None:
        key = request.part["path_key"]
        raise UserError(
            f"{request.task}: its data is licensed and is not shipped. Next: `licensed: {{{key}: PATH}}` in the study. "
            f"PATH may be {ccgbank.ALLOWED}"
        )
    fields = request.part.get("fields") or {}
    words, tags = (fields.get(name, name) for name in ("tokens", "tags"))
    for path in ccgbank.files(request.licensed, request.split):
        names, empty = _Names(path), True
        for where, key, sentence in _sentences(path, words, tags):
            empty = False
            yield where, {**key, words: sentence[0], tags: names.of(_equal(*sentence, where), where)}
        if empty:
            raise UserError(f"{path}: holds no sentences")


def _sentences(path: Path, words: str, tags: str) -> Iterator[tuple[str, dict, tuple[list, list]]]:
    """(where, {"id"} or {}, (words, supertags)) of every sentence of one file."""
    if path.suffix == ".jsonl":
        for number, row in enumerate(files.read_jsonl(path), 1):
            yield f"{path}:{number}", *_object(row, words, tags, f"{path}:{number}")
        return
    lines = _lines(path)
    for number, line in lines:
        where = f"{path}:{number}"
        if path.suffix == ".auto":
            number, tree = next(lines, (number + 1, ""))
            yield f"{path}:{number}", {"id": _id(line, where)}, _tree(tree, f"{path}:{number}")
        else:
            yield where, {}, _text(line, where)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of the lines that are not blank."""
    try:
        with open(path, encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}") from error


def _object(row, words: str, tags: str, where: str) -> tuple[dict, tuple[list, list]]:
    for name in (words, tags):
        if not isinstance(row, dict) or not isinstance(row.get(name), list):
            found = f"its fields: {', '.join(row)}" if isinstance(row, dict) else f"it is {str(row)[:80]!r}"
            raise UserError(
                f"{where}: {name!r} must be a list; {found}. Allowed: {{{words!r}: [...], {tags!r}: [...]}}, or other "
                "names under `fields` of sources.licensed in catalog/tasks/ccg.yaml"
            )
    return {"id": row["id"]} if "id" in row else {}, (row[words], row[tags])


def _text(line: str, where: str) -> tuple[list, list]:
    if "\t" in line:
        columns = line.split("\t")
        if len(columns) != 2:
            raise UserError(f"{where}: {len(columns)} columns; allowed: words, one TAB, supertags")
        return columns[0].split(), columns[1].split()
    tokens = [token.split("|") for token in line.split()]
    for token in tokens:
        if len(token) not in (2, 3) or not all(token):
            shown = "|".join(token)
            raise UserError(
                f"{where}: token {shown!r} is not word|supertag or word|POS|supertag; allowed is also a line of words, "
                "one TAB, supertags"
            )
    return [token[0] for token in tokens], [token[-1] for token in tokens]


def _id(line: str, where: str) -> str:
    found = re.match(r"ID=(\S+)", line)
    if not found:
        raise UserError(f"{where}: {line[:60]!r}: a line `ID=<sentence> ...` must stand before each tree")
    return found[1]


def _tree(line: str, where: str) -> tuple[list, list]:
    """Words and categories of the leaves, in order; every bracket must be closed and nothing else be there."""
    words, tags, depth, position = [], [], 0, 0
    while position < len(line.rstrip()):
        found = PIECE.match(line, position)
        opens, closes = (found[3], found[4]) if found else (None, None)
        if not found or (position and depth == 0) or (closes and depth == 0):
            raise UserError(
                f"{where}: column {position + 1}: {line[position : position + 40]!r} is no part of a derivation; "
                "allowed: (<T ...> nodes ) and (<L category POS POS word category>) leaves"
            )
        if not opens and not closes:
            tags.append(found[1])
            words.append(found[2])
        depth += bool(opens) - bool(closes)
        position = found.end()
    if depth or not words:
        raise UserError(f"{where}: this line is no whole tree: {depth} brackets are open, it has {len(words)} words")
    return words, tags


def _equal(words: list, tags: list, where: str) -> list:
    if len(words) != len(tags) or not words:
        raise UserError(f"{where}: {len(words)} words and {len(tags)} supertags; both must be the same number, not 0")
    return tags


class _Names:
    """Names of supertags that a file gives as numbers, by the tags_to_id.json beside it."""

    def __init__(self, path: Path):
        self.path, self.table = path, None

    def of(self, tags: list, where: str) -> list[str]:
        numbers = [tag for tag in tags if isinstance(tag, int) or (isinstance(tag, str) and tag.isdecimal())]
        if not numbers and all(isinstance(tag, str) for tag in tags):
            return tags
        if len(numbers) < len(tags) or any(isinstance(tag, bool) for tag in tags):
            odd = next(tag for tag in tags if isinstance(tag, bool) or tag not in numbers)
            raise UserError(f"{where}: supertag {odd!r}: allowed are names alone, or numbers of {ccgbank.IDS} alone")
        names = self.table = self.table or self._read(where)
        lost = [tag for tag in tags if int(tag) not in names]
        if lost:
            raise UserError(
                f"{where}: supertag id {lost[0]} is not in {self.path.parent / ccgbank.IDS}, which has {len(names)} "
                f"ids, {min(names)} to {max(names)}"
            )
        return [names[int(tag)] for tag in tags]

    def _read(self, where: str) -> dict[int, str]:
        path = ccgbank.ids(self.path)
        if path is None:
            raise UserError(f"{where}: supertags are numbers, and no {ccgbank.IDS} (supertag -> number) lies beside it")
        table, names = files.read_json(path), {}
        if not isinstance(table, dict) or not table:
            raise UserError(f"{path}: must be an object, supertag -> number")
        for name, value in table.items():
            if isinstance(value, bool) or not str(value).isdecimal():
                raise UserError(f"{path}: {name!r}: {value!r} is no number; allowed: 0, 1, 2, ...")
            if int(value) in names:
                raise UserError(f"{path}: id {value} has two names, {names[int(value)]!r} and {name!r}")
            names[int(value)] = name
        return names
