"""A model in a folder of Hugging Face files: config.json, *.safetensors, tokenizer.json."""

from __future__ import annotations

import json
import os
from pathlib import Path

from xstilts.errors import UserError
from xstilts.files import read_json
from xstilts.models import folder as folders

PREFIXES = ("roberta.", "bert.", "deberta.", "model.")
# Heads of pretraining or of another task, never part of an encoder; position_ids is a buffer of older versions.
HEADS = ("lm_head.", "lm_predictions.", "mask_predictions.", "cls.", "head.", "decoder.", "classifier.", "qa_outputs.")
NEXT = f"Next: copy the file again, for it may be cut short, or {folders.NEXT}"
STALE = f"Run the study again; if this message stays, delete {folders.MEMO} (digests that planning remembers)"
NOT_WEIGHTS = ("pooler.", "embeddings.position_ids", *HEADS)


def build(source: dict, identity: dict, cache: Path) -> dict:
    """Build the model of a `local` source: {files: {name: sha256}} in a folder that XSTILTS_MODEL_FOLDERS names.

    By hand `folder` may stand in the source itself, without `files`; `sha256` pins the folder's model.safetensors.
    Returns {"weights": {encoder name: tensor}, "config": dict, "tokenizer": tokenizers.Tokenizer, "revision": None}.
    """
    where = f"catalog/models/{identity.get('name', '<name>')}.yaml"
    known = json.loads(os.environ.get(folders.VARIABLE) or "{}")
    given = source if source.get("folder") else {"folder": known.get(identity.get("name"))}
    here = folders.place(given, Path.cwd(), where)
    _verify(source, here, {path.name: path for path in folders.files(here, where)})
    built = read(here, here / "tokenizer.json")
    for key, of_config in (("layers", "num_hidden_layers"), ("hidden", "hidden_size")):
        true = built["config"].get(of_config)
        if key in identity and true is not None and true != identity[key]:
            raise UserError(
                f"{where}: identity.{key} is {identity[key]}, and {here}/config.json has {of_config} {true}. "
                f"Write {key}: {true}"
            )
    return built


def _verify(source: dict, here: Path, paths: dict[str, Path]) -> None:
    """The folder's files are those of the spec (and of the catalog's `sha256`), byte for byte."""
    planned = source.get("files") or {}
    if planned and set(planned) != set(paths):
        raise UserError(
            f"{here}: holds {', '.join(paths)}; when the study was planned it held {', '.join(sorted(planned))}. "
            "Run the study again"
        )
    for name, expected in planned.items():
        if (found := folders.digest(paths[name])) != expected:
            raise UserError(f"{paths[name]}: sha256 is {found}; when the study was planned it was {expected}. {STALE}")
    if source.get("sha256"):
        found = folders.digest(here / "model.safetensors") if "model.safetensors" in paths else "that of no file"
        if found != source["sha256"]:
            raise UserError(
                f"{here}/model.safetensors: sha256 is {found}, expected {source['sha256']} (source.sha256 of the "
                "model's catalog file). Give the folder of that model, or correct the entry."
            )


def read(folder: Path, tokenizer: Path) -> dict:
    """The encoder of a folder with one or several safetensors files, under the encoder's own tensor names.

    UserError: a file that is missing or broken, or a tensor that is there twice.
    """
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise UserError(f"{folder / 'config.json'}: must be an object, as transformers writes it. {NEXT}")
    if not tokenizer.is_file():
        raise UserError(
            f"{tokenizer}: no such file. Only tokenizers in the `tokenizers` format are read; give another "
            "repository's with source.tokenizer, or make the file with AutoTokenizer(...).save_pretrained(folder)."
        )
    files = folders.weights(folder)
    if not files:
        raise UserError(
            f"{folder}: holds no .safetensors file. Pickled weights (.bin) are never read: convert them with "
            "AutoModel.from_pretrained(...).save_pretrained(folder) and use a `local` source."
        )
    return {"weights": _weights(files), "config": config, "tokenizer": _tokenizer(tokenizer), "revision": None}


def _weights(files: list[Path]) -> dict:
    """The encoder's tensors of all files, each once."""
    from safetensors import SafetensorError, safe_open

    weights, origin = {}, {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as handle:
                for name in handle.keys():  # noqa: SIM118 (not a dict)
                    short = encoder_name(name)
                    if short in origin:
                        raise UserError(_twice(short, *origin[short], file, name))
                    if short is not None:
                        weights[short], origin[short] = handle.get_tensor(name), (file, name)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file}: not a whole safetensors file: {error}. {NEXT}") from error
    return weights


def _twice(short: str, first: Path, one: str, second: Path, other: str) -> str:
    return (
        f"{first} ({one}) and {second} ({other}) both hold the tensor {short}: which is the model's? Next: keep one of "
        f"them in the folder, or give {folders.INDEX}, which names the files to read"
    )


def _tokenizer(path: Path):
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path}: not a file of the `tokenizers` library: {error}. {NEXT}") from error


def encoder_name(name: str) -> str | None:
    """A checkpoint's tensor name without its model prefix, in today's spelling; None for what is not the encoder."""
    short = next((name[len(prefix) :] for prefix in PREFIXES if name.startswith(prefix)), name)
    if short.startswith(NOT_WEIGHTS):
        return None
    return short.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
