"""Checkpoint folders that store what changed: the tensors that differ from the base model's, and the task heads."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from xstilts.errors import UserError
from xstilts.files import read_json, replacing, write_json

HEADS = "heads."


def write_tensors(path: Path, tensors: dict) -> None:
    """Write a safetensors file (torch or numpy values): equal tensors give equal bytes."""
    ordered = {name: tensors[name] for name in sorted(tensors)}
    with replacing(path) as part:
        if any(hasattr(tensor, "requires_grad") for tensor in ordered.values()):
            from safetensors.torch import save_file

            save_file({name: tensor.detach().contiguous() for name, tensor in ordered.items()}, part, {"format": "pt"})
        else:
            from safetensors.numpy import save_file

            save_file(ordered, part, {"format": "pt"})
        os.chmod(part, 0o644)  # safetensors makes it readable by its owner alone


def read_tensors(path: Path) -> dict:
    """All tensors of a safetensors file, memory-mapped (nothing is read before it is used)."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file: {error}. Delete it and make it again.") from error


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def fingerprint(model_dir: Path) -> str:
    """SHA-256 of a base model's weights: model.json's if it was made for this file's size, else computed."""
    weights, record = model_dir / "model.safetensors", model_dir / "model.json"
    if record.is_file():
        recorded = read_json(record)
        if recorded.get("bytes") == weights.stat().st_size:
            return recorded["sha256"]
    return sha256(weights)


def save(out: Path, model, model_dir: Path, spec: dict, keep_heads: bool) -> None:
    """Write `out`/model.safetensors and config.json for a trained `loading.TaskModel`.

    Only encoder tensors that differ from those in `model_dir` are stored, under their own names, with `keep_heads`
    the heads as `heads.<task>.<name>`. config.json names the parent and its sha256, the heads, and the job's spec.
    """
    base = read_tensors(model_dir / "model.safetensors")
    frozen = {name for name, parameter in model.encoder.named_parameters() if not parameter.requires_grad}
    kept = frozen - model.changed  # equal to the base's without a look: comparing 250,002 embeddings takes 0.3 s
    tensors = {}
    for name, tensor in model.encoder.state_dict().items():
        if name in kept:
            continue
        value = tensor.cpu()
        stored = base.get(name)
        if stored is None or not stored.to(value.dtype).equal(value):
            tensors[name] = value
    if keep_heads:
        for name, tensor in model.heads.state_dict().items():
            tensors[HEADS + name] = tensor.cpu()
    write_tensors(out / "model.safetensors", tensors)
    parent = {"model": spec["model"]["name"], "sha256": fingerprint(model_dir)}
    heads = model.head_settings if keep_heads else {}
    write_json(out / "config.json", {"parent": parent, "stage": spec["stage"], "heads": heads, "spec": spec})


def read(checkpoint_dir: Path, model_dir: Path) -> tuple[dict, dict, dict]:
    """(config, encoder tensors, head tensors) of a checkpoint, after its parent was checked to be `model_dir`."""
    config = read_json(checkpoint_dir / "config.json")
    parent = config.get("parent")
    if not parent:
        raise UserError(
            f"{checkpoint_dir}/config.json: has no `parent`: not a checkpoint of this workflow (a complete Hugging "
            "Face folder is a model: use it with a `local` source)."
        )
    found = fingerprint(model_dir)
    if parent["sha256"] != found:
        raise UserError(
            f"{checkpoint_dir}: was trained from {parent['model']} with sha256 {parent['sha256']}, but {model_dir} "
            f"has {found}. Give the model folder that it was trained from, or train it again."
        )
    tensors = read_tensors(checkpoint_dir / "model.safetensors")
    heads = {name[len(HEADS) :]: tensor for name, tensor in tensors.items() if name.startswith(HEADS)}
    encoder = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}
    return config, encoder, heads
