"""Rows of parquet files as plain Python values, with class names in place of class numbers.

A file that `datasets` wrote says in its metadata which columns hold classes and how these are named. A file that does
not say so gives the numbers as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from xstilts.errors import UserError

BATCH = 1000  # rows in memory at a time
_LISTS = ("Sequence", "List", "LargeList")


def rows(paths: Iterable[Path]) -> Iterator[dict]:
    """The rows of the files, one file after the other, in their order.

    Numbers that name a class become its name, also in lists and structs. A number that names none (SNLI's -1) stays.
    UserError: a file that is not parquet, or is broken.
    """
    import pyarrow
    import pyarrow.parquet

    for path in paths:
        try:
            # pre_buffer, pyarrow's default, holds the whole file in memory
            with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
                named = _namer_of(file.schema_arrow.metadata, path)
                for batch in file.iter_batches(batch_size=BATCH):
                    found = batch.to_pylist()
                    yield from map(named, found) if named else found
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{path}: not a parquet file that can be read: {reason}. Only plain parquet is read. If the copy is "
                "damaged, delete it and run the same command again; else the repository's own file is at fault: pin "
                "another revision (python -m xstilts pin) or use source `local` (docs/data.md)"
            ) from error


def _namer_of(metadata: dict | None, path: Path) -> Callable | None:
    """What turns a row's class numbers into names, by what `datasets` noted in the file; None: nothing does."""
    note = (metadata or {}).get(b"huggingface")
    try:
        return _struct(json.loads(note)["info"].get("features") or {}) if note else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: its metadata `huggingface` cannot be read ({type(error).__name__}: {error}), so that the names "
            "of its classes are unknown. Pin another revision (python -m xstilts pin) or use source `local`"
        ) from error


def _namer(feature) -> Callable | None:
    """A function from a value of this feature to the value with class names; None where it holds no class."""
    if isinstance(feature, list):  # the older form of a list
        return _listed(_namer(feature[0])) if feature else None
    kind = feature.get("_type")
    if kind == "ClassLabel":
        return _classes(feature.get("names") or [])
    if kind in _LISTS:
        return _listed(_namer(feature["feature"]))
    return None if isinstance(kind, str) else _struct(feature)


def _struct(features: dict) -> Callable | None:
    found = {name: _namer(feature) for name, feature in features.items() if isinstance(feature, dict | list)}
    named = {name: inner for name, inner in found.items() if inner}

    def convert(value):
        if not isinstance(value, dict):
            return value
        return {name: named[name](held) if name in named else held for name, held in value.items()}

    return convert if named else None


def _listed(inner: Callable | None) -> Callable | None:
    def convert(value):
        if isinstance(value, dict):  # a Sequence of a struct is stored as a struct of lists
            return {key: [inner({key: one})[key] for one in held or ()] for key, held in value.items()}
        return [inner(held) for held in value] if isinstance(value, list) else value

    return convert if inner else None


def _classes(names: list[str]) -> Callable:
    def convert(value):
        number = isinstance(value, int) and not isinstance(value, bool)
        return names[value] if number and 0 <= value < len(names) else value

    return convert
