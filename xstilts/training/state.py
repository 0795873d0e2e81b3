"""The resumable state of a training in progress: what a killed run goes on from, to the same bytes."""

from __future__ import annotations

import hashlib
import sys

import torch
from torch import Tensor, nn

from xstilts.errors import UserError
from xstilts.training.statefiles import Saved, States

__all__ = ["Saved", "States", "collect", "restore", "trainable"]


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of what is trained."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def collect(model, optimiser, pending: list[Tensor], best: dict[str, Tensor], world) -> dict[str, Tensor]:
    """What `States.save` writes for this rank: CPU tensors by name.

    The trained weights, what the optimiser keeps for each of its `parameters` in its `state`, the
    weights of the best step (name -> this rank's part), the states of the random generators, and `pending`, this rank's
    shares of the losses that are not logged yet.
    """
    tensors = {"random/cpu": torch.get_rng_state()}
    if world.device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(world.device)
    if pending:
        tensors["pending"] = torch.stack(pending)
    if world.rank == 0 or world.layout == "sharded":
        tensors |= {f"weight/{name}": world.local(parameter) for name, parameter in trainable(model).items()}
        tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
        for index, parameter in enumerate(optimiser.parameters):
            for key, value in optimiser.state.get(parameter, {}).items():
                tensors[f"moment/{index}/{key}"] = value
    result, seen = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        memory = tensor.untyped_storage().data_ptr()
        # safetensors refuses tensors that share memory, as the code book of an 8-bit optimiser does
        result[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return result


def restore(saved: Saved, model, optimiser, world) -> tuple[dict, list[Tensor], dict[str, Tensor]]:
    """Give model, optimiser and random generators what `collect` took; return (progress, pending, best).

    On other ranks than before, or another kind of device, the random streams begin anew, and that is said: the result
    is as good, but not the same to the byte. What does not fit the model is a UserError before anything changes.
    """
    groups: dict[str, dict] = {kind: {} for kind in ("weight", "best", "moment", "random", "pending")}
    for name, tensor in saved.tensors.items():
        kind, _, rest = name.partition("/")
        groups[kind][rest] = tensor
    parameters = optimiser.parameters
    parts = {name: world.local(parameter) for name, parameter in trainable(model).items()}
    _check_fit(saved, groups["weight"], parts)
    places = [name.partition("/") for name in groups["moment"]]
    moments = [
        (int(index), key, tensor) for (index, _, key), tensor in zip(places, groups["moment"].values(), strict=True)
    ]
    if not saved.same and "sharded" in (saved.layout, world.layout):
        _check_moments(saved, moments, [world.local(parameter) for parameter in parameters])
    with torch.no_grad():
        for name, part in parts.items():
            part.copy_(groups["weight"][name])
    # copies: a file stays mapped as long as one of its tensors lives, and this one will be deleted
    for index, key, tensor in moments:
        optimiser.state.setdefault(parameters[index], {})[key] = tensor.to(world.device, copy=True)
    _restore_random(saved, groups["random"], world)
    pending = [loss for tensor in groups["pending"].values() for loss in tensor.to(world.device, copy=True)]
    return saved.progress, pending, {name: tensor.clone() for name, tensor in groups["best"].items()}


def _restore_random(saved: Saved, random: dict[str, Tensor], world) -> None:
    if "cpu" in random and (world.device.type != "cuda" or "cuda" in random):
        torch.set_rng_state(random["cpu"])
        if world.device.type == "cuda":
            torch.cuda.set_rng_state(random["cuda"], world.device)
        return
    text = f"resume {saved.progress.get('step')} rank {world.rank} of {world.size}"
    torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big"))
    if world.rank == 0:
        print(
            f"{saved.path}: was made on other devices: dropout goes on with new random numbers, so the result will not "
            "be that of an uninterrupted run to the byte",
            file=sys.stderr,
            flush=True,
        )


def _check_fit(saved: Saved, weights: dict[str, Tensor], parts: dict[str, Tensor]) -> None:
    """Refuse weights of other names or shapes than the model's."""
    ours = {name: tuple(part.shape) for name, part in parts.items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    odd = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if odd:
        raise UserError(
            f"{saved.path}: the state of another training: {odd[0]} is {theirs.get(odd[0])} in it and "
            f"{ours.get(odd[0])} in the model ({len(odd)} such). Delete {saved.path.parent} to start anew."
        )


def _check_moments(saved: Saved, moments: list[tuple[int, str, Tensor]], parts: list[Tensor]) -> None:
    """Refuse to deal out anew what is not in rows: the moments of an 8-bit optimiser are in blocks."""
    for index, key, value in moments:
        if value.ndim and value.shape != parts[index].shape:
            raise UserError(
                f"{saved.path}: {key} of this optimiser cannot be spread over other devices. Go on with the "
                f"devices and strategy that it was made with, or delete {saved.path.parent} to start anew."
            )
