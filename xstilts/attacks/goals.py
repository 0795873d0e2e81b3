"""When an example is attacked, and when the attack has succeeded.

`goals` of an attack's catalog entry, by kind (`entity`: tagging with the scheme iob2, else `tagging`):
right  attacked when the clean score is at least this
below  won when the score falls below this
drop   won when the score falls by this or more
lost   won when so many of the right chunks are lost, or all where there are fewer; attacked when there is one
"""

from __future__ import annotations

from dataclasses import dataclass

CHUNKS = "iob2"  # the tagging scheme whose chunks are entities
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Goal:
    """One kind's goal; exactly one of `below`, `drop`, `lost` is given. Results: see `engine.Victim`."""

    right: float
    below: float | None = None
    drop: float | None = None
    lost: int | None = None

    def attacked(self, clean: dict) -> bool:
        """True when the clean result is good enough to be attacked."""
        return clean["score"] >= self.right and (self.lost is None or clean["counts"][0] >= 1)

    def won(self, clean: dict, result: dict) -> bool:
        """True when the attack has reached its goal with `result`."""
        if self.lost is not None:
            found = clean["counts"][0]
            return found - result["counts"][0] >= min(self.lost, found)
        if self.below is not None:
            return result["score"] < self.below
        return result["score"] <= clean["score"] - self.drop + _ROUNDING


def name(goals: dict, kind: str, options: dict) -> str:
    """Key of `goals` that holds for a task of this kind with these options."""
    entities = kind == "tagging" and options.get("scheme") == CHUNKS and "entity" in goals
    return "entity" if entities else kind


def goal(identity: dict, kind: str, options: dict) -> Goal | None:
    """The attack's goal for a task of this kind; None where it has none."""
    goals = identity["goals"]
    found = goals.get(name(goals, kind, options))
    return Goal(**found) if found else None
