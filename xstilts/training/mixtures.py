"""Which task each step of a training draws its batch from."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

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


def plan(sizes: Sequence[int], sampling: dict, steps: int, seed: int) -> list[int]:
    """The index of the task of each step: independent draws, decided by the seed."""
    if len(sizes) == 1:
        return [0] * steps
    generator = random.Random(f"mixture/{seed}")
    return generator.choices(range(len(sizes)), weights=probabilities(sizes, sampling), k=steps)
