"""Which task each step of a training draws its batch from."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from xstilts.errors import UserError


def own_steps(features: int, hyper: dict) -> int:
    """Steps of one task by its preset: max_steps, else epochs (a fraction is allowed) of ceil(features / batch)."""
    if hyper.get("max_steps"):
        return int(hyper["max_steps"])
    if not hyper.get("epochs"):
        raise UserError("hyper: neither max_steps nor epochs is given")
    return math.ceil(hyper["epochs"] * math.ceil(features / hyper["batch_size"]))


def probabilities(sizes: Sequence[int], sampling: dict) -> list[float]:
    """Probability of each task from its number of training examples n.

    proportional: p ~ n (jiant's default); capped: p ~ min(n, cap) (jiant's `train_examples_cap`, T5's
    examples-proportional mixing); temperature: p ~ min(n, cap)^(1/temperature); uniform: equal.
    """
    method, cap = sampling.get("method", "proportional"), sampling.get("cap")
    if method == "capped" and not cap:
        raise UserError("sampling: method capped needs `cap` (examples)")
    if method == "temperature" and not sampling.get("temperature"):
        raise UserError("sampling: method temperature needs `temperature` (1 = proportional)")
    if method == "proportional":
        weights = [float(size) for size in sizes]
    elif method == "capped":
        weights = [float(min(size, cap)) for size in sizes]
    elif method == "temperature":
        weights = [min(size, cap or size) ** (1 / sampling["temperature"]) for size in sizes]
    elif method == "uniform":
        weights = [1.0 for _ in sizes]
    else:
        raise UserError(f"sampling: method {method!r} is unknown; allowed: proportional, capped, temperature, uniform")
    return [weight / sum(weights) for weight in weights]


def shared(sizes: Mapping[str, int], sampling: dict) -> dict[str, float]:
    """Probability of each task (name -> number of training examples): `sampling["shares"]` gives some of them theirs,
    the others have what is left, by the method. That shares leave something to somebody is checked in the study."""
    shares = sampling.get("shares") or {}
    others = {name: size for name, size in sizes.items() if name not in shares}
    left = 1.0 - math.fsum(shares.values())
    by_size = dict(zip(others, probabilities(list(others.values()), sampling), strict=True))
    return {name: shares[name] if name in shares else left * by_size[name] for name in sizes}


def all_steps(own: Mapping[str, int], sampling: dict) -> int:
    """Steps of a mixture: the sum of the tasks' own steps; tasks with a fixed share get theirs on top of the others'.

    So masked text at a share of 0.2 adds a quarter to the steps and takes none from the other tasks.
    """
    shares = sampling.get("shares") or {}
    steps = sum(number for name, number in own.items() if name not in shares)
    return math.ceil(steps / (1.0 - math.fsum(shares.values())) - 1e-9)  # 27 / 0.9 is not quite 30


def plan(sizes: Mapping[str, int], sampling: dict, steps: int, seed: int) -> list[int]:
    """The index of the task of each step: independent draws, decided by the seed."""
    if len(sizes) == 1:
        return [0] * steps
    generator = random.Random(f"mixture/{seed}")
    return generator.choices(range(len(sizes)), weights=list(shared(sizes, sampling).values()), k=steps)
