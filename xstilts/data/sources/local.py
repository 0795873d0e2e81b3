"""`local`: JSON-lines files with the hub's field names, `<data_root>/<folder>/<language>/<split>.jsonl`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from xstilts import files
from xstilts.data.sources import Request
from xstilts.errors import UserError


def read(request: Request) -> Iterator[tuple[str, dict]]:
    """Rows of the file of one split; for mining (BUCC) of `<split>_source`, `<split>_target` and `<split>_gold`."""
    if request.data_root is None:
        raise UserError(
            f"{request.task}: source `local` needs a data folder; set data_root, for example "
            "--config data_root=/path (layout: docs/data.md), or choose sources: [embedded]"
        )
    folder = Path(request.data_root, request.fill(request.part["folder"]), request.code)
    if request.kind == "retrieval" and request.options["mining"] == "margin":
        yield from _pools(request, folder)
    else:
        yield from _rows(request, folder / f"{request.split}.jsonl")


def _rows(request: Request, path: Path) -> Iterator[tuple[str, dict]]:
    if not path.is_file():
        raise UserError(
            f"{path}: no such file (task {request.task}, language {request.language}). Put it there (the layout "
            "is in docs/data.md) or leave the language out of the study"
        )
    for number, row in enumerate(files.read_jsonl(path), 1):
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: not a JSON object: {str(row)[:80]!r}")
        yield f"{path}:{number}", row


def _pools(request: Request, folder: Path) -> Iterator[tuple[str, dict]]:
    """Normalised retrieval rows of two sentence pools and the gold pairs between them.

    `fields` may rename id, text (default `sentence`), source_id and target_id. A sentence with two partners is a
    UserError: `match` holds one id.
    """
    fields = {"id": "id", "text": "sentence", "source_id": "source_id", "target_id": "target_id"}
    fields.update(request.part.get("fields") or {})
    gold_path = folder / f"{request.split}_gold.jsonl"
    match: dict[str, dict[str, str]] = {"source": {}, "target": {}}
    for where, row in _rows(request, gold_path):
        source, target = (_get(row, fields[name], where) for name in ("source_id", "target_id"))
        if match["source"].get(source, target) != target or match["target"].get(target, source) != source:
            raise UserError(
                f"{where}: {source!r} and {target!r}: one of them has another partner already. Gold pairs must be "
                "one-to-one here: keep one of its lines (XTREME's F1 would count each)"
            )
        match["source"][source], match["target"][target] = target, source
    for side in ("source", "target"):
        seen = set()
        path = folder / f"{request.split}_{side}.jsonl"
        for where, row in _rows(request, path):
            key = _get(row, fields["id"], where)
            seen.add(key)
            text = _get(row, fields["text"], where)
            yield where, {"id": key, "side": side, "text": text, "match": match[side].get(key)}
        missing = sorted(set(match[side]) - seen)
        if missing:
            raise UserError(f"{gold_path}: {side} id {missing[0]!r} does not occur in {path}")


def _get(row: dict, field: str, where: str) -> str:
    if field not in row:
        raise UserError(f"{where}: no field {field!r}; it has: {', '.join(row)}")
    if not isinstance(row[field], str | int):
        raise UserError(f"{where}: {field} is {str(row[field])[:80]!r}; it must be a string")
    return str(row[field])
