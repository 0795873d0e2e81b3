"""A model of the Hugging Face hub at a pinned revision: safetensors only, no code from the repository is ever run."""

from __future__ import annotations

import re
from pathlib import Path

from xstilts.errors import UserError
from xstilts.models import local

PATTERNS = ["*.safetensors", "*.safetensors.index.json", "config.json", "tokenizer.json"]


def build(source: dict, identity: dict, cache: Path) -> dict:
    """Build the model of a `hub` source: {id, revision, tokenizer?: {id, revision}}; see `local.build`.

    `tokenizer` names another repository for models that ship none (Multilingual MiniLM uses XLM-R's).
    """
    folder = snapshot(source["id"], source.get("revision"), PATTERNS, cache)
    other = source.get("tokenizer")
    tokenizer = snapshot(other["id"], other.get("revision"), ["tokenizer.json"], cache) if other else folder
    return {**local.read(folder, tokenizer / "tokenizer.json"), "revision": source["revision"]}


def snapshot(repository: str, revision: str | None, patterns: list[str], cache: Path) -> Path:
    """Folder of the repository's files at a full commit hash; anything else than such a hash is refused."""
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise UserError(
            f"model {repository}: revision is {revision!r}, expected the 40-digit commit hash of one version. "
            "Pin it: python -m xstilts pin"
        )
    import huggingface_hub

    try:
        path = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=patterns, cache_dir=cache / "hub"
        )
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise UserError(
            f"model {repository} at {revision}: could not be downloaded: {error}\n"
            f"On a node without network, fetch it elsewhere first and copy {cache / 'hub'} (XSTILTS_CACHE)."
        ) from error
    return Path(path)
