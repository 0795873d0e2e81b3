"""Keyboard layouts (catalog/keyboards/<layout>.yaml): which keys lie beside one another.

Keys are one unit wide and high; the rows' offsets are in the files. Two keys of one layer (shifted or not) are
neighbours when their middles are less than `REACH` apart, so each has those beside it and two above and below.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

from xstilts.errors import UserError
from xstilts.schema import ROOT, read_yaml, validate

REACH = 1.5  # key widths
FOLDER = ROOT / "catalog" / "keyboards"
_CARRIER, _NONE = "\u25cc", "_"


def load(folder: Path = FOLDER) -> dict[str, dict]:
    """Layout -> its file's content plus `neighbours`: key -> adjacent keys, nearest first.

    Raises UserError for a file that the schema refuses and for a language with two layouts.
    """
    layouts, served = {}, {}
    for path in sorted(Path(folder).glob("*.yaml")):
        layout = validate(read_yaml(path), "keyboard", path)
        for code in layout["languages"]:
            if code in served:
                raise UserError(
                    f"{path}: languages: {code!r} has a layout already, {served[code]!r}; a language has one. "
                    f"Next: take it out of one of the two files."
                )
            served[code] = path.stem
        _check_keys(layout, path)
        layouts[path.stem] = {**layout, "neighbours": neighbours(layout)}
    return layouts


def _check_keys(layout: dict, path: Path) -> None:
    for row in (*layout["rows"], *layout.get("shifted", ())):
        for key in row["keys"].split():
            if len(key.replace(_CARRIER, "")) != 1:
                raise UserError(
                    f"{path}: keys: {key!r} is not one letter or mark. Allowed: single characters apart by spaces, "
                    f"a mark on {_CARRIER}, {_NONE} for a key without a letter. Next: mend the file."
                )


@cache
def by_language(folder: Path = FOLDER) -> dict[str, dict[str, list[str]]]:
    """Language code -> key -> adjacent keys. Read once: do not change it."""
    layouts = load(folder).values()
    return {code: layout["neighbours"] for layout in layouts for code in layout["languages"]}


def of(language_code: str, folder: Path = FOLDER) -> dict[str, list[str]]:
    """Key -> adjacent keys on the usual layout of a language; {} where no layout serves it."""
    return by_language(folder).get(language_code, {})


def neighbours(layout: dict) -> dict[str, list[str]]:
    """Key -> the keys of the same layer less than `REACH` away, nearest first, of a file's `rows` and `shifted`."""
    found: dict[str, list[str]] = {}
    for layer in ("rows", "shifted"):
        places = [
            (key.replace(_CARRIER, ""), row["x"] + column, y)
            for y, row in enumerate(layout.get(layer, ()))
            for column, key in enumerate(row["keys"].split())
            if key != _NONE
        ]
        for key, x, y in places:
            near = sorted(
                (distance, other)
                for other, x2, y2 in places
                if other != key and (distance := math.hypot(x - x2, y - y2)) < REACH
            )
            known = found.setdefault(key, [])
            known += [other for _, other in near if other not in known]
    return found
