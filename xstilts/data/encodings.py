"""Encoded texts: made once, kept in files that are memory-mapped, and shared by every job that needs them.

`<cache>/encodings/<digest>/` holds one .npy a column of the features, `<column>.ends.npy` too where a row is a list,
and `meta.json`. The digest is of everything that the encodings depend on: the contents of the examples and of the
tokenizer, the kind's code, its settings, the versions of what it calls. What is found is used if every byte is as it
was written, else it is made again; what was not used for 30 days is deleted when something new is written.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache as remembered
from functools import cached_property
from importlib import metadata
from itertools import chain
from pathlib import Path
from types import ModuleType

import numpy as np

from xstilts import files
from xstilts.data import kinds
from xstilts.errors import UserError

FORMAT = 1
FOLDER = "encodings"
DAY = 86_400.0  # seconds
KEPT = 30 * DAY  # an entry that no job used for so long is deleted
CHUNK = 10_000  # examples that are encoded at once
DECODING = ("offsets", "positions")  # needed to decode predictions only

Column = tuple[np.ndarray, np.ndarray | None]  # values, and where each row's end where rows are lists (first 0)


class Features(Sequence):
    """The features of one task in columns: `features[i]` is a dict as `kind.encode` gives it, its lists int32 arrays.

    `lengths` (n,): real tokens of each; `widths` (n,): tokens of its longest sequence, and `rows` (n,) how many
    sequences it has (1 but for kind choice); `examples`: how many examples were encoded; `labels`: the task's, or, for
    a tagging task that lists none, the tags of its training examples; `facts`: what `kind.corrupt` needs of the
    tokenizer (None for kinds without it).
    """

    def __init__(self, columns: dict[str, Column], meta: dict):
        self.columns, self.meta = columns, meta
        self.examples, self.labels = meta["examples"], meta["labels"]

    def __len__(self) -> int:
        return len(self.columns["input_ids"][1]) - 1

    def __getitem__(self, number):
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        size = len(self)
        if not -size <= number < size:
            raise IndexError(f"feature {number} of {size}")
        number %= size
        return {
            name: values.item(number) if ends is None else values[ends.item(number) : ends.item(number + 1)]
            for name, (values, ends) in self.columns.items()
        }

    @property
    def facts(self):
        found = self.meta["facts"]
        return None if found is None else kinds.get(self.meta["kind"]).facts_of(found)

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.diff(self.columns["input_ids"][1])

    @cached_property
    def widths(self) -> np.ndarray:
        return self.lengths if "lengths" not in self.columns else self._over_sequences(np.maximum)

    @cached_property
    def rows(self) -> np.ndarray:
        several = self.columns.get("lengths")
        return np.ones(len(self), np.int64) if several is None else np.diff(several[1])

    def squares(self) -> np.ndarray:
        """(n,): pairs of tokens that attend to each other, the sum of the squares of its sequences' lengths."""
        return self.lengths**2 if "lengths" not in self.columns else self._over_sequences(np.add, 2)

    def _over_sequences(self, operation: np.ufunc, power: int = 1) -> np.ndarray:
        values, ends = self.columns["lengths"]
        return operation.reduceat(values.astype(np.int64) ** power, ends[:-1]) if len(self) else np.zeros(0, np.int64)

    def pieces(self) -> np.ndarray:
        """Ids of the vocabulary that occur in the features, sorted (padding is not among them)."""
        ids = self.columns["input_ids"][0]
        seen = np.zeros(int(ids.max()) + 1 if len(ids) else 0, bool)
        seen[ids] = True
        return np.flatnonzero(seen)


def features(
    spec: dict,
    paths: Sequence[Path],
    model,
    code: str,
    cache: Path | None,
    training: bool,
    most: int | None = None,
    examples: Sequence[dict] | None = None,
) -> Features:
    """The features of the examples in `paths`, one after the other; with `most` of the first so many.

    `spec`: kind, labels, hyper and options of a task; `model`: a TaskModel, whose tokenizer is read only if something
    must be encoded; `code`: version of the stage's code; `cache`: the work folder (None: nothing is kept);
    `examples`: what the files hold, where that was read already. UserError: as `files.read_jsonl` and `kind.encode`.
    """
    kind = kinds.get(spec["kind"])
    hyper = _hyper(kind, spec["hyper"])

    def make() -> Features:
        found = examples if examples is not None else [row for path in paths for row in files.read_jsonl(path)]
        return encode(kind, found[:most], model.tokenizer, {**spec, "hyper": hyper}, training)

    if cache is None:
        return make()
    content = [spec["labels"], spec["options"], training, most, *(_sha256(path) for path in paths)]
    return _kept(kind, hyper, content, model, code, cache, make)


def of_texts(texts: Sequence[str], hyper: dict, model, code: str, cache: Path | None) -> Features:
    """The features of single texts (kind retrieval), in their order; arguments as those of `features`."""
    kind = kinds.get("retrieval")

    def make() -> Features:
        spec = {"labels": [], "hyper": hyper, "options": {}}
        return encode(kind, [{"text": text} for text in texts], model.tokenizer, spec, False)

    if cache is None:
        return make()
    content = hashlib.sha256(json.dumps(list(texts)).encode("ascii")).hexdigest()
    return _kept(kind, _hyper(kind, hyper), [content], model, code, cache, make)


def encode(kind: ModuleType, examples: Sequence[dict], tokenizer, spec: dict, training: bool) -> Features:
    """Encode `examples` in memory, 4 bytes a token (a list of numbers takes 36)."""
    labels = spec["labels"]
    if training and not labels and hasattr(kind, "open_labels"):
        labels = kind.open_labels(examples)
    parts: dict[str, list[tuple[np.ndarray, np.ndarray | None]]] = {"input_ids": []}
    for start in range(0, len(examples), CHUNK):
        chunk = examples[start : start + CHUNK]
        found = kind.encode(chunk, tokenizer, labels, spec["hyper"], spec["options"], training)
        for name in found[0] if found else ():
            if not (training and name in DECODING):
                values, sizes = _packed([feature[name] for feature in found])
                parts.setdefault(name, []).append((values + start if name == "example" else values, sizes))
    columns = {name: _joined(column) for name, column in parts.items()}
    facts = kind.facts(tokenizer) if training and hasattr(kind, "facts") else None
    meta = {"kind": _name(kind), "examples": len(examples), "labels": labels, "facts": facts}
    return Features(columns, meta)


def _packed(rows: list) -> tuple[np.ndarray, np.ndarray | None]:
    """One column of a chunk: (values, None) of numbers; (values, sizes) of lists of numbers or of pairs of numbers."""
    if not isinstance(rows[0], list | tuple):
        return np.array(rows, np.int32), None
    flat = list(chain.from_iterable(rows))
    return np.array(flat, np.int32), np.fromiter(map(len, rows), np.int64, len(rows))


def _joined(column: list[tuple[np.ndarray, np.ndarray | None]]) -> Column:
    if not column:  # no features at all
        return np.zeros(0, np.int32), np.zeros(1, np.int64)
    filled = [values for values, _ in column if len(values)] or [column[0][0]]  # pairs where there are any
    values = np.concatenate(filled)
    if column[0][1] is None:
        return values, None
    return values, np.concatenate([[0], np.cumsum(np.concatenate([sizes for _, sizes in column]))])


def _name(kind: ModuleType) -> str:
    return kind.__name__.rpartition(".")[2]


def _hyper(kind: ModuleType, hyper: dict) -> dict:
    """What the kind's encoding may read of the hyper-parameters: `encode` is given nothing else."""
    return {name: hyper[name] for name in kind.HYPER if name in hyper}


# ---- the kept ones
def _kept(kind, hyper: dict, content: list, model, code: str, cache: Path, make: Callable[[], Features]) -> Features:
    """What is kept under the digest of all that the encodings depend on, else `make()`, kept for the next job."""
    sources = [Path(kind.__file__), Path(kinds.sequences.__file__), Path(__file__)]
    versions = [metadata.version("tokenizers"), unicodedata.unidata_version]
    known = [FORMAT, _name(kind), hyper, content, code, versions, *map(_sha256, [*sources, model.tokenizer_file])]
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode("utf-8")).hexdigest()
    folder = Path(cache) / FOLDER / key[:32]
    if (found := _load(folder, key)) is not None:
        with suppress(OSError):
            os.utime(folder)  # used today
        return found
    with _alone(folder):
        if (found := _load(folder, key)) is not None:  # another job made it meanwhile
            return found
        made = make()
        try:
            _write(folder, made, key)
        except OSError as error:
            print(f"{folder}: could not be written ({error}): encoded for this job alone", file=sys.stderr, flush=True)
            return made
    return _load(folder, key) or made  # mapped: the memory of what was made is free again


def _sha256(path: str | os.PathLike) -> str:
    """The digest of a file's content, computed once a process while the file stays as it is."""
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    return _digest(os.fspath(path), status.st_size, status.st_mtime_ns)


@remembered
def _digest(path: str, size: int, changed: int) -> str:
    return files.sha256(path)


def _load(folder: Path, key: str) -> Features | None:
    """What lies in `folder`, if it is whole and made for `key`."""
    try:
        record = json.loads((folder / "meta.json").read_bytes())
        if record["key"] != key or record["sum"] != _sum(record):
            return None
        arrays = {}
        for name, checksum in record["files"].items():
            path = folder / f"{name}.npy"
            if zlib.crc32(np.memmap(path, np.uint8, "r")) != checksum:
                return None
            arrays[name] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        columns = {name: (arrays[name], arrays.get(f"{name}.ends")) for name in record["columns"]}
        return Features(columns, record["meta"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _sum(record: dict) -> int:
    """The checksum of a meta.json, but for itself."""
    return zlib.crc32(json.dumps({**record, "sum": None}, sort_keys=True).encode("utf-8"))


def _write(folder: Path, made: Features, key: str) -> None:
    """Write under a temporary name and rename: a half-written folder is never found."""
    part = folder.with_name(f".{folder.name}.{os.urandom(8).hex()}")
    try:
        part.mkdir(parents=True)
        arrays = {name: values for name, (values, _) in made.columns.items()}
        arrays |= {f"{name}.ends": ends for name, (_, ends) in made.columns.items() if ends is not None}
        checksums = {}
        for name, array in arrays.items():
            np.save(part / f"{name}.npy", array, allow_pickle=False)
            checksums[name] = zlib.crc32((part / f"{name}.npy").read_bytes())
        record = {"key": key, "columns": list(made.columns), "files": checksums, "meta": made.meta}
        record["sum"] = _sum(record)
        (part / "meta.json").write_text(json.dumps(record), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one; jobs that have it mapped keep what they see
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    _forget_unused(folder.parent)


def _forget_unused(parent: Path) -> None:
    """Delete entries that no job used for 30 days, and what a killed job left behind a day ago."""
    for path in parent.iterdir():
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > (DAY if path.name.startswith(".") else KEPT):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make an entry, where the file system has locks: without them both make it."""
    handle = None
    try:
        with suppress(OSError):
            folder.parent.mkdir(parents=True, exist_ok=True)
            handle = open(folder.with_name(f".{folder.name}.lock"), "wb")  # noqa: SIM115 (closed below)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle is not None:
            handle.close()
