"""Checkpoint folders that store what changed: the tensors that differ from the base model's, and the task heads."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from xstilts.errors import UserError
from xstilts.files import read_json, replacing, write_json

HEADS = "heads."
PARTS = (".rows", ".touched", ".decay", ".lora_a", ".lora_b")  # of a tensor that is not stored as a whole


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


def save(
    out: Path,
    model,
    model_dir: Path,
    spec: dict,
    keep_heads: bool,
    tensors: dict | None = None,
    factors: dict | None = None,
) -> None:
    """Write `out`/model.safetensors and config.json for a trained `loading.TaskModel`.

    What is stored of a matrix W of the encoder leads from the base model to it in one step, whatever W was trained
    from: `W` where it was trained as a whole and differs; `W.rows`, `W.touched`, `W.decay` of trimmed word embeddings
    (see `trimming`); `W.lora_a` (r, in) and `W.lora_b` (out, r) of an adapter: the base's W + lora_b @ lora_a. With
    `keep_heads` the heads follow as `heads.<task>.<name>`. config.json names the parent and its sha256, the heads, and
    the job's spec.

    `tensors`: whole CPU tensors by their names in `model`, where the model's own are parts (sharded) of them.
    `factors`: lora_a and lora_b (with its factor alpha / r) of this training by name, where adapters were trained.
    """
    import torch

    whole = tensors or {}
    base = read_tensors(model_dir / "model.safetensors")
    trained = {plain(name): (name, one) for name, one in model.encoder.named_parameters() if one.requires_grad}
    trimmed = model.trimmed
    # What is frozen is as it was loaded: stored as an earlier checkpoint had it, in no other number format.
    kept = {name: tensor for name, tensor in model.changed.items() if matrix_of(name) not in trained}
    for name, (given, parameter) in trained.items():
        value = whole.get(f"encoder.{given}", parameter).detach()
        if trimmed is not None and name == trimmed.name:
            kept |= {key: tensor for key, tensor in model.changed.items() if key == name}  # its rows lie over this
            kept |= trimmed.tensors(value)
        elif name in base:
            value = value.cpu()
            if not base[name].to(value.dtype).equal(value):
                kept[name] = value
        elif factors is None:
            raise ValueError(f"{name} is trained and not of the base model: give the adapters' factors")
    for name, value in (factors or {}).items():
        before = [kept[name]] if name in kept else []
        kept[name] = torch.cat([*before, value.detach().float().cpu()], dim=0 if name.endswith(".lora_a") else 1)
    if keep_heads:
        for name, tensor in model.heads.state_dict().items():
            kept[HEADS + name] = whole.get(HEADS + name, tensor).cpu()
    write_tensors(out / "model.safetensors", kept)
    parent = {"model": spec["model"]["name"], "sha256": fingerprint(model_dir)}
    heads = model.head_settings if keep_heads else {}
    write_json(out / "config.json", {"parent": parent, "stage": spec["stage"], "heads": heads, "spec": spec})


def plain(name: str) -> str:
    """A parameter's name in the base model: without what adapters (peft), checkpointing and torch.compile put in."""
    for added in ("base_layer.", "_orig_mod.", "_checkpoint_wrapped_module."):
        name = name.replace(added, "")
    return name


def matrix_of(name: str) -> str:
    """The encoder's tensor that a stored tensor is about."""
    return name.removesuffix(next((ending for ending in PARTS if name.endswith(ending)), ""))


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


def parts(tensors: dict, base: dict, where: str) -> tuple[dict, dict, dict]:
    """A checkpoint's encoder tensors by what they are: whole ones, name -> (rows, touched, decay), name -> (lora_a,
    lora_b). UserError: parts that do not belong together, or not to the `base` model's tensors."""
    groups: dict[str, dict] = {}
    for name, tensor in tensors.items():
        matrix = matrix_of(name)
        groups.setdefault(matrix, {})[name.removeprefix(matrix)] = tensor
    whole, touched, factors = {}, {}, {}
    for matrix, found in groups.items():
        if "" in found:
            whole[matrix] = found.pop("")
        try:
            if found:
                _check(found, base.get(matrix))
        except ValueError as error:
            raise UserError(f"{where}: {matrix}: {error}. The file is damaged: delete it and train again.") from None
        if ".rows" in found:
            touched[matrix] = found[".rows"], found[".touched"], float(found[".decay"])
        if ".lora_a" in found:
            factors[matrix] = found[".lora_a"], found[".lora_b"]
    return whole, touched, factors


def _check(found: dict, matrix) -> None:
    """ValueError where the parts of one matrix are not what `save` writes."""
    import torch

    endings, shapes = set(found), {name: tuple(tensor.shape) for name, tensor in found.items()}
    if endings not in (set(PARTS[:3]), set(PARTS[3:])):
        raise ValueError(f"holds {' '.join(sorted(endings))}, expected {' '.join(PARTS[:3])} or {' '.join(PARTS[3:])}")
    if matrix is None or matrix.ndim != 2:
        raise ValueError("the base model has no such matrix")
    height, width = matrix.shape
    if ".lora_a" in found:
        rank = shapes[".lora_a"][0]
        if shapes != {".lora_a": (rank, width), ".lora_b": (height, rank)}:
            raise ValueError(f"factors of {shapes['.lora_b']} and {shapes['.lora_a']} do not make {(height, width)}")
        return
    rows, decay = found[".rows"], found[".decay"]
    if shapes != {".rows": (len(rows),), ".touched": (len(rows), width), ".decay": (1,)}:
        raise ValueError(f"{shapes['.rows']} rows and {shapes['.touched']} values do not fit {(height, width)}")
    if rows.dtype != torch.int32 or not bool((rows[1:] > rows[:-1]).all()):
        raise ValueError("rows must be int32 numbers, each greater than the one before it")
    if len(rows) and not 0 <= int(rows[0]) <= int(rows[-1]) < height:
        raise ValueError(f"rows {int(rows[0])} to {int(rows[-1])}, the base model has 0 to {height - 1}")
    if decay.dtype != torch.float64 or not bool(decay.isfinite().all()):
        raise ValueError(f"decay must be one finite float64 number, is {decay.tolist()}")
