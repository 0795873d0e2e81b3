"""Failed runs: what counts as one, why it failed, and the seed of the next attempt.

Fine-tuning of large encoders sometimes ends no better than knowing the most frequent answer, or in a loss that is no
number (google-research/xtreme issue 36, huggingface/transformers issue 10588: XLM-R large). Such a run is a fact about
the seed: it is recorded, and another seed is tried.
"""

from __future__ import annotations

import hashlib

from xstilts.errors import UserError

MARGIN = 1.0  # points above the majority score that a run must reach not to count as failed


class NotANumber(Exception):
    """The loss of a training became nan or infinite; the message is the reason in words."""


def derived_seed(seed: int, attempt: int) -> int:
    """The seed of an attempt: the study's own for the first (0), then decided by both."""
    if attempt == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"restart {seed} {attempt}".encode()).digest()[:4], "big") >> 1


def restarts(hypers: list[dict]) -> int:
    """How often a failed run of these tasks is repeated: the most that one of their presets allows."""
    return max((hyper.get("restarts", 0) for hyper in hypers), default=0)


def reason(scores: dict[str, dict]) -> str | None:
    """Why a run with these English dev scores (task -> `dev.evaluate`) failed, in words; None where it did not."""
    found = []
    for task, score in scores.items():
        if score["value"] > score["majority"] + MARGIN:
            continue
        near = f"{score['metric']} {score['value']:.1f}, {score['majority']:.1f} for the most frequent answer alone"
        if score.get("only") is not None:
            found.append(f"every dev prediction of {task} is {score['only']} ({near})")
        else:
            found.append(f"English dev of {task} is at the majority ({near})")
    return "; ".join(found) or None


def lost(spec: dict, attempts: list[dict]) -> UserError:
    """The error of a training whose last attempt ended in a loss that is no number: there are no weights to keep."""
    names = ", ".join(task["task"] for task in spec["tasks"])
    rates = sorted({task["hyper"]["learning_rate"] for task in spec["tasks"]})
    told = "; ".join(f"seed {attempt['seed']}: {attempt['reason']}" for attempt in attempts)
    return UserError(
        f"{spec['model']['name']} on {names}, seed {spec['seed']}: {told}. Lower learning_rate (now "
        f"{', '.join(map(str, rates))}) by training.overrides or set training.precision: fp32 in the study, then run "
        "again."
    )
