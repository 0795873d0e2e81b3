"""What a search is given, and the one way in which it asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from xstilts.attacks.units import Unit

Changes = dict[int, str]  # number of a unit -> its new text
Found = tuple[Changes, dict]
Search = Generator[list[Changes], list[dict | None], Found]


class Probe(dict):
    """`Changes` that only measure a unit's importance: never an outcome, and no constraint applies to them."""


@dataclass
class Task:
    """One example, as a search sees it: neither text nor model.

    `candidates`: number of a unit -> its new texts, one or more. `clean`: the result of the unchanged text. `won`:
    whether a result reaches the goal. `most`: how many units may change. `budget`: queries, at_once (None: no limit).
    `options`: the search's entry in the catalog. `units`: what the numbers stand for, to know which exclude each other.
    """

    candidates: dict[int, list[str]]
    clean: dict
    won: Callable[[dict], bool]
    most: int
    budget: dict
    options: dict
    rng: Random
    units: list[Unit]
    left: float = field(init=False)  # queries

    def __post_init__(self):
        queries = self.budget.get("queries")
        self.left = math.inf if queries is None else queries

    @cached_property
    def clashes(self) -> dict[int, set[int]]:
        """Numbers of units that cannot be changed together with one, for those candidates that have such."""
        found: dict[int, set[int]] = {}
        places: dict[tuple, list[int]] = {}
        for number in self.candidates:
            unit = self.units[number]
            places.setdefault((unit.field, unit.token), []).append(number)
        for numbers in places.values():
            numbers.sort(key=lambda number: (self.units[number].word.start, self.units[number].word.end))
            for position, one in enumerate(numbers):
                for other in numbers[position + 1 :]:
                    if self.units[other].word.start > self.units[one].word.end:
                        break
                    if self.units[one].overlaps(self.units[other]):
                        found.setdefault(one, set()).add(other)
                        found.setdefault(other, set()).add(one)
        return found

    def fits(self, unit: int, changes: Iterable[int]) -> bool:
        """True when the unit is not among `changes` and overlaps none of them."""
        return unit not in changes and not (self.clashes and self.clashes.get(unit, set()).intersection(changes))

    def apart(self, changes: Changes) -> bool:
        """True when no two of the changed units overlap."""
        return not self.clashes or all(self.fits(unit, changes.keys() - {unit}) for unit in changes)

    def worst(self, found: list[Found]) -> Found:
        """The worst for the model: a winner before others, then the highest loss, then the first."""
        return max(found, key=lambda one: (self.won(one[1]), one[1]["loss"]))

    def ask(self, trials: list[Changes], at_once: int | None = None) -> Generator[list[Changes], list, list[Found]]:
        """Changes with their results, as far as the queries go; without those that were refused, which cost none.

        `at_once`: so many are asked together, and the asking ends with the first portion that holds a winner.
        """
        found, position = [], 0
        while position < len(trials) and self.left > 0:
            size = int(min(len(trials) - position, self.left, at_once or math.inf))
            portion = trials[position : position + size]
            position += size
            results = yield portion
            answered = [one for one in zip(portion, results, strict=True) if one[1] is not None]
            self.left -= len(answered)
            found += answered
            if at_once and any(self.won(result) for _, result in answered):
                break
        return found
