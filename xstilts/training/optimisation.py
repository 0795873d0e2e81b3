"""AdamW as BERT fine-tuning uses it, with a learning rate that follows the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from xstilts.errors import UserError


def adamw(model: nn.Module) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; biases and LayerNorm (vectors, all of them) are not decayed.

    Learning rate, weight decay and epsilon are set by `configure` before every step.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trainable if parameter.ndim >= 2], "decayed": True},
        {"params": [parameter for parameter in trainable if parameter.ndim < 2], "decayed": False},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), fused=True)


def configure(optimiser: torch.optim.Optimizer, hyper: dict, step: int, steps: int) -> None:
    """Set what AdamW uses in step `step` (from 0) of `steps`, by the hyper-parameters of that step's task."""
    for group in optimiser.param_groups:
        group["lr"] = hyper["learning_rate"] * schedule(hyper, step, steps)
        group["eps"] = hyper.get("adam_epsilon", 1e-8)
        group["weight_decay"] = hyper.get("weight_decay", 0.0) if group["decayed"] else 0.0


def schedule(hyper: dict, step: int, steps: int) -> float:
    """Factor 0-1 of the learning rate: up from 0 over the warm-up, then linearly to 0 (or constant).

    The same numbers as transformers' get_linear_schedule_with_warmup: the first step of a warm-up has rate 0.
    """
    warmup = hyper.get("warmup_steps") or math.ceil(hyper.get("warmup", 0.0) * steps)
    if step < warmup:
        return step / max(1, warmup)
    name = hyper.get("schedule", "linear")
    if name == "constant":
        return 1.0
    if name != "linear":
        raise UserError(f"hyper: schedule: {name!r} is unknown; allowed: linear, constant")
    return max(0.0, (steps - step) / max(1, steps - warmup))
