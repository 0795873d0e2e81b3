"""Failed runs: what counts as one, why it failed, and the seed of the next attempt.

Fine-tuning of large encoders sometimes ends no better than knowing the most frequent answer, or in a loss that is no
number (google-research/xtreme issue 36, huggingface/transformers issue 10588: XLM-R large). Such a run is a fact about
the seed: it is recorded, and another seed is tried.
"""

from __future__ import annotations

import hashlib

MARGIN = 1.0  # points above the majority score that a run must reach not to count as failed


class NotANumber(Exception):
    """The loss or the weights of a training became nan or infinite; the message is the reason in words."""


def derived_seed(seed: int, attempt: int) -> int:
    """The seed of an attempt: the study's own for the first (0), then decided by both."""
    if attempt == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"restart {seed} {attempt}".encode()).digest()[:4], "big") >> 1


def restarts(hypers: list[dict]) -> int:
    """How often a failed run of these tasks is repeated: the most that one of their presets allows."""
    return max((hyper.get("restarts", 0) for hyper in hypers), default=0)


def at_majority(scores: dict[str, dict]) -> list[str]:
    """Tasks whose English dev score (task -> `dev.evaluate`) is within a point of the most frequent answer's."""
    return sorted(task for task, score in scores.items() if score["value"] <= score["majority"] + MARGIN)


def reason(scores: dict[str, dict]) -> str | None:
    """Why a run with these English dev scores failed, in words; None where it did not.

    A mixture has failed where none of its tasks was learnt: one that a small encoder cannot learn in the steps that it
    gets (`at_majority` names it) says nothing of the others.
    """
    weak, found = at_majority(scores), []
    if not scores or len(weak) < len(scores):
        return None
    for task in weak:
        score = scores[task]
        near = f"{score['metric']} {score['value']:.1f}, {score['majority']:.1f} for the most frequent answer alone"
        if score.get("only") is not None:
            found.append(f"every dev prediction of {task} is {score['only']} ({near})")
        else:
            found.append(f"English dev of {task} is at the majority ({near})")
    return "; ".join(found)
