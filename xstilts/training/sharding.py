"""Spread a model's weights over all processes by torch's FSDP2.

Groups of weights that are fetched from the other processes together: each block of the encoder, each head, and the
rest (embeddings and every norm), which stays in memory for the whole step. With bf16 a block's matrices travel and
multiply in bfloat16, as autocast would cast them; embeddings, norms, heads, the residual stream, the sums of gradients
and the weights that the optimiser sees stay float32. Frozen weights outside the blocks are whole everywhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import wraps

import torch
from torch import Tensor, nn


def shard(model: nn.Module, device: torch.device, precision: str, agree: Callable[[Iterable[Tensor]], None]) -> None:
    """Shard a TaskModel in place over all processes of the default group; `agree` is called on what is trained before
    it is cut, group by group. `model.logits` then gathers and frees weights as it goes."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    exact = MixedPrecisionPolicy(cast_forward_inputs=False)
    half = torch.bfloat16 if precision == "bf16" else None
    lower = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32, cast_forward_inputs=False)

    def cut(module: nn.Module, policy, ignored: set[nn.Parameter], stays: bool) -> None:
        mine = [parameter for parameter in module.parameters() if parameter not in ignored]
        for parameter in mine:
            dtype = torch.float32 if parameter.requires_grad or half is None else parameter.dtype
            parameter.data = parameter.data.to(device, dtype)
        agree(parameter for parameter in mine if parameter.requires_grad)
        fully_shard(module, mesh=mesh, mp_policy=policy, ignored_params=ignored, reshard_after_forward=not stays)

    inner = blocks(model)
    for head in model.heads.values():
        cut(head, exact, set(), stays=True)
    heads = set(model.heads.parameters())
    matrices = {parameter for block in inner for parameter in block.parameters()} - _norms(inner)
    frozen = {parameter for parameter in model.parameters() if not parameter.requires_grad} - matrices
    for parameter in frozen:
        parameter.data = parameter.data.to(device)
    for buffer in model.buffers():
        buffer.data = buffer.data.to(device)
    # before the blocks, so that it takes their norms: what is in a group already is not offered to an outer one
    cut(model, exact, heads | matrices | frozen, stays=True)
    for block in inner:
        cut(block, lower, _norms([block]), stays=False)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    # torch 2.13 warns of logits that are views: nobody changes logits in place
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    register_fsdp_forward_method(model, "logits")
    _evaluate_too(model, [model, *model.heads.values()])


def blocks(model: nn.Module) -> list[nn.Module]:
    """The encoder's blocks: the first list of modules as long as config.json says there are."""
    number = model.config["num_hidden_layers"]
    lists = (module for module in model.encoder.modules() if isinstance(module, nn.ModuleList))
    return list(next((found for found in lists if len(found) == number), ()))


def _norms(modules: Iterable[nn.Module]) -> set[nn.Parameter]:
    """The weights of all normalisations in the modules."""
    found = (module for outer in modules for module in outer.modules() if "norm" in type(module).__name__.lower())
    return {parameter for module in found for parameter in module.parameters()}


def _evaluate_too(model: nn.Module, stay: list) -> None:
    """Let `model.logits` be called without gradients, in inference mode too.

    FSDP2 fills the same memory again and again; memory made in inference mode could not be trained with. Groups that
    wait for the backward pass are freed, for there is none: the parameters are shares again, as the optimiser and the
    states expect.
    """
    forward = model.logits

    @wraps(forward)
    def logits(*arguments, **named) -> Tensor:
        if torch.is_grad_enabled():
            return forward(*arguments, **named)
        with torch.inference_mode(False), torch.no_grad():
            result = forward(*arguments, **named)
        for module in stay:
            module.reshard()
        return result

    model.logits = logits
