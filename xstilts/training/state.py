"""The resumable state of a training in progress: one safetensors file that a killed run goes on from."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from xstilts.models.checkpoints import write_tensors


def save(path: Path, model, optimiser, progress: dict, pending: list, best: dict) -> None:
    """Write trainable weights, optimiser moments, random states, losses not yet logged and the best weights so far.

    `progress` is JSON: step, times, scores. The file replaces the one before it in one move.
    """
    tensors = {f"weight/{name}": parameter for name, parameter in trainable(model).items()}
    tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
    for index, parameter in enumerate(optimiser.parameters):
        moments = optimiser.state.get(parameter, {})
        tensors |= {f"moment/{index}/{name}": tensor for name, tensor in moments.items()}
    tensors["random/cpu"] = torch.get_rng_state()
    if model.device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(model.device)
    if pending:
        tensors["pending"] = torch.stack(pending)
    text = json.dumps(progress, sort_keys=True).encode("utf-8")
    tensors["progress"] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    write_tensors(path, {name: tensor.detach().cpu() for name, tensor in tensors.items()})


def restore(path: Path, model, optimiser) -> tuple[dict, list, dict]:
    """Load what `save` wrote into model, optimiser and random generators; return (progress, pending, best)."""
    from safetensors.torch import load_file

    groups: dict[str, dict] = {}
    for name, tensor in load_file(path).items():
        kind, _, rest = name.partition("/")
        groups.setdefault(kind, {})[rest] = tensor
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(groups["weight"][name])
    parameters = optimiser.parameters
    for name, tensor in groups.get("moment", {}).items():
        index, _, key = name.partition("/")
        optimiser.state.setdefault(parameters[int(index)], {})[key] = tensor.to(model.device)
    torch.set_rng_state(groups["random"]["cpu"])
    if "cuda" in groups["random"]:
        torch.cuda.set_rng_state(groups["random"]["cuda"], model.device)
    pending = list(groups["pending"][""].to(model.device)) if "pending" in groups else []
    progress = json.loads(groups["progress"][""].numpy().tobytes())
    return progress, pending, groups.get("best", {})


def trainable(model) -> dict:
    """Name -> parameter of what is trained."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
