"""AdamW as BERT fine-tuning uses it, with a learning rate that follows the step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw as fused_step

from xstilts.errors import UserError


class AdamW:
    """`torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=True)` to the bit, by the function that it ends in itself.

    torch's class imports torch._dynamo when it is made: 1.1 s of every training. `groups`: a list of {"params", "lr",
    "eps", "weight_decay"}; a parameter without a gradient (the head of another task) is left alone.
    """

    def __init__(self, groups: list[dict]):
        self.param_groups = groups
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @property
    def parameters(self) -> list[Tensor]:
        """All parameters, in the order of the groups."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            updated = [parameter for parameter in group["params"] if parameter.grad is not None]
            states = [self.state.setdefault(parameter, {}) for parameter in updated]
            for parameter, state in zip(updated, states, strict=True):
                if not state:
                    state["step"] = torch.zeros((), device=parameter.device)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            averages, squares, steps = ([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq", "step"))
            with torch.no_grad():
                fused_step(
                    updated,
                    [parameter.grad for parameter in updated],
                    averages,
                    squares,
                    [],
                    steps,
                    fused=True,
                    amsgrad=False,
                    beta1=0.9,
                    beta2=0.999,
                    lr=group["lr"],
                    weight_decay=group["weight_decay"],
                    eps=group["eps"],
                    maximize=False,
                )

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None


def adamw(model: nn.Module) -> AdamW:
    """AdamW over the trainable parameters; biases and LayerNorm (vectors, all of them) are not decayed.

    Learning rate, weight decay and epsilon are set by `configure` before every step.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trainable if parameter.ndim >= 2], "decayed": True},
        {"params": [parameter for parameter in trainable if parameter.ndim < 2], "decayed": False},
    ]
    return AdamW(groups)


def configure(optimiser: AdamW, hyper: dict, step: int, steps: int) -> None:
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
