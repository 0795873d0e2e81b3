"""`hub`: parquet data sets of the Hugging Face hub at a pinned revision. Loading scripts are never run."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from xstilts.data.sources import Request
from xstilts.errors import UserError


def read(request: Request) -> Iterator[tuple[str, dict]]:
    """Rows of one configuration and split. HF_HUB_OFFLINE=1 reads the hub client's cache alone."""
    part, name = request.part, request.part["id"]
    if request.kind == "retrieval" and request.options["mining"] == "margin":
        raise UserError(
            f"{request.task}: {name} holds the gold pairs only. Mining searches large pools of distractors; with gold "
            "pairs alone F1 is far too high. Use the files of the BUCC 2018 shared task as source `local` "
            "(docs/data.md), or choose sources: [embedded]"
        )
    revision = part.get("revision") or _locked(request, name)
    if not revision:
        raise UserError(
            f"{request.task}: {name} has no pinned revision in catalog/revisions.lock; run `python -m xstilts pin`"
        )
    import datasets

    arguments = {"split": request.split, "revision": revision}
    if part.get("files"):  # a repository that does not declare its splits
        arguments["data_files"] = {request.split: part["files"][request.split]}
    elif part.get("config"):
        arguments["name"] = request.fill(part["config"])
    try:
        table = datasets.load_dataset(name, **arguments)
    except Exception as error:  # the client raises its own, requests' and fsspec's errors
        shown = " ".join(f"{key}={value}" for key, value in arguments.items())
        raise UserError(
            f"{request.task}: {name} {shown} could not be read from the hub: {type(error).__name__}: "
            f"{str(error).strip()[:200]}. On a machine without network, use source `local` with a "
            "folder in the layout of docs/data.md"
        ) from error
    where = f"{name} {arguments.get('name', '')} {request.split} row"
    for number, row in enumerate(table):
        yield f"{where} {number}", row


def _locked(request: Request, name: str) -> str | None:
    if request.revisions is None or not request.revisions.is_file():
        return None
    lock = yaml.safe_load(request.revisions.read_text(encoding="utf-8")) or {}
    return (lock.get(name) or {}).get("revision")
