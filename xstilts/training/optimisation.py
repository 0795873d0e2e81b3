"""AdamW as BERT fine-tuning uses it, with moments in float32 or 8 bits, and a learning rate that follows the step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw as fused_step

from xstilts.errors import UserError

BETAS = (0.9, 0.999)
LIBRARY = "bitsandbytes==0.50.2"
BLOCK = 256  # numbers that share a scale in bitsandbytes' 8-bit optimisers
SMALLEST = 4096  # as there: a smaller tensor keeps float32 moments


class AdamW:
    """`torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=True)` to the bit, by the function that it ends in itself.

    torch's class imports torch._dynamo when it is made: 1.1 s of every training. `groups`: a list of {"params", "lr",
    "eps", "weight_decay"}; a parameter without a gradient (the head of another task) is left alone. `local` gives this
    process's part of a parameter or gradient (`World.local`), a plain tensor: moments are kept of that part alone.
    """

    def __init__(self, groups: list[dict], local: Callable[[Tensor], Tensor] | None = None):
        self.param_groups, self.local = groups, local or (lambda tensor: tensor)
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @property
    def parameters(self) -> list[Tensor]:
        """All parameters, in the order of the groups."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            updated = [
                (parameter, self.local(parameter), self.local(parameter.grad))
                for parameter in group["params"]
                if parameter.grad is not None
            ]
            self._update(group, [one for one in updated if one[1].numel()])  # a small tensor leaves some ranks no part

    def _update(self, group: dict, updated: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        """One step of the (parameter, own part, gradient of that part) of one group."""
        states = [self.state.setdefault(parameter, {}) for parameter, _, _ in updated]
        for state, (_, part, _) in zip(states, updated, strict=True):
            if not state:
                state["step"] = torch.zeros((), device=part.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(part), torch.zeros_like(part)
        averages, squares, steps = ([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq", "step"))
        fused_step(
            [part for _, part, _ in updated],
            [gradient for _, _, gradient in updated],
            averages,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None


class AdamW8bit(AdamW):
    """AdamW with moments of 8 bits, quantised by blocks of 256 (Dettmers et al. 2021, arXiv 2110.02861).

    The update is bitsandbytes'. Tensors below 4,096 numbers keep float32 moments, as there; so do those of `exact`
    (the embeddings, as its authors advise: rows that few batches touch). In state: `step`, `state1` and `state2`
    (uint8, as the parameter's own part), `absmax1` and `absmax2` (float32, a scale a block of that part).
    """

    def __init__(self, groups: list[dict], local=None, exact: list[Tensor] = ()):
        super().__init__(groups, local)
        self.library = _library()
        self.exact = {id(parameter) for parameter in exact}
        self.codes: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def _update(self, group: dict, updated: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        def plain(one: tuple[Tensor, Tensor, Tensor]) -> bool:
            return one[0].numel() < SMALLEST or id(one[0]) in self.exact  # of the whole: alike on every rank

        super()._update(group, [one for one in updated if plain(one)])
        for parameter, part, gradient in updated:
            if not plain((parameter, part, gradient)):
                self._quantised(group, self.state.setdefault(parameter, {}), part, gradient)

    def _quantised(self, group: dict, state: dict, part: Tensor, gradient: Tensor) -> None:
        device = part.device
        if device not in self.codes:
            maps = (self.library.create_dynamic_map(signed=signed) for signed in (True, False))
            self.codes[device] = tuple(code.to(device) for code in maps)
        if not state:
            scales = math.ceil(part.numel() / BLOCK)
            for name in ("1", "2"):
                state[f"state{name}"] = torch.zeros_like(part, dtype=torch.uint8)
                # of the state 0, which is not the code 0: a scale of 0 makes it the number 0
                state[f"absmax{name}"] = torch.zeros(scales, device=device)
            state["step"] = torch.zeros(())
        state["step"] = state["step"].cpu() + 1  # on the CPU, where reading it makes no GPU wait
        self.library.optimizer_update_8bit_blockwise(
            "adam", gradient.contiguous(), part, state["state1"], state["state2"], *BETAS, 0.0, 0.0, group["eps"],
            int(state["step"]), group["lr"], *self.codes[device], state["absmax1"], state["absmax2"],
            weight_decay=group["weight_decay"],
        )  # fmt: skip


def _library():
    try:
        import bitsandbytes.functional

        return bitsandbytes.functional
    except ImportError as error:
        raise UserError(
            f"training.optimiser: adamw8bit needs a library that is not here ({error}). Allowed without it: adamw. "
            f"Next: `pip install {LIBRARY}`."
        ) from error


def build(model: nn.Module, spec: dict, world=None) -> AdamW:
    """The optimiser that the job spec names (`optimiser`: adamw, the default, or adamw8bit) over what is trained.

    Biases and LayerNorm (vectors, all of them) are not decayed. Learning rate, weight decay and epsilon are set by
    `configure` before every step. `world`: `parallel.World`, where weights may be sharded.
    """
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    groups = [
        {"params": [parameter for parameter in trainable.values() if parameter.ndim >= 2], "decayed": True},
        {"params": [parameter for parameter in trainable.values() if parameter.ndim < 2], "decayed": False},
    ]
    local = world.local if world is not None else None
    name = spec.get("optimiser", "adamw")
    if name == "adamw":
        return AdamW(groups, local)
    if name != "adamw8bit":
        raise UserError(f"optimiser: {name!r} is unknown; allowed: adamw, adamw8bit")
    return AdamW8bit(groups, local, [parameter for path, parameter in trainable.items() if ".embeddings." in path])


def configure(optimiser: AdamW, hyper: dict, step: int, steps: int) -> None:
    """Set what AdamW uses in step `step` (from 0) of `steps`, by the hyper-parameters of that step's task."""
    rate, weight_decay = decay(hyper, step, steps)
    for group in optimiser.param_groups:
        group["lr"], group["eps"] = rate, hyper.get("adam_epsilon", 1e-8)
        group["weight_decay"] = weight_decay if group["decayed"] else 0.0


def decay(hyper: dict, step: int, steps: int) -> tuple[float, float]:
    """(rate, weight decay) of a step: a decayed weight whose gradients are 0 is multiplied by 1 - rate * decay."""
    return hyper["learning_rate"] * schedule(hyper, step, steps), hyper.get("weight_decay", 0.0)


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
