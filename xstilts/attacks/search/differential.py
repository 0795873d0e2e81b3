"""Differential evolution (Storn and Price 1997, doi 10.1023/A:1008202821328) over which units change, and into what."""

from __future__ import annotations

from random import Random

from xstilts.attacks.search.task import Changes, Found, Search, Task

# Boucher et al. 2021 (arXiv 2106.09898): population 32, 10 generations
POPULATION, GENERATIONS = 32, 10
# defaults of scipy 1.17 `differential_evolution`: best1bin, mutation drawn anew for each generation
MUTATION, RECOMBINATION = (0.5, 1.0), 0.7
_SMALLEST = 5  # members, as in scipy


def evolution(task: Task) -> Search:
    """Differential evolution, strategy best1bin, a whole generation at a time (scipy's updating="deferred").

    A member is `most` pairs of numbers in [0, 1): a unit (or none, as in Boucher et al.) and one of its texts. A pair
    whose unit was named before or overlaps one counts as none. Energy: minus the loss. `options.population` members
    start in a Latin hypercube and live for `options.generations`; it ends with the first generation that holds a
    winner (the paper's runs on). A text that was asked before is not asked again. Unlike scipy, `population` is the
    number of members and not a factor of it, and there is no end by convergence.
    """
    size = max(_SMALLEST, task.options.get("population", POPULATION))
    pairs, known = min(task.most, len(task.candidates)), {}
    members = hypercube(size, 2 * pairs, task.rng)
    found = yield from _measure(task, members, known)
    for _ in range(task.options.get("generations", GENERATIONS)):
        if _winner(task, found) or task.left <= 0:
            break
        trials = mutants(members, max(range(size), key=lambda one: found[one][1]["loss"]), task.rng)
        results = yield from _measure(task, trials, known)
        for one in range(size):
            if results[one][1]["loss"] >= found[one][1]["loss"]:
                members[one], found[one] = trials[one], results[one]
        if _winner(task, results):
            found = results
    best = task.worst(found)
    return best if task.won(best[1]) or best[1]["loss"] > task.clean["loss"] else ({}, task.clean)


def hypercube(size: int, dimensions: int, rng: Random) -> list[list[float]]:
    """`size` points in the unit cube, one in each of `size` equal slices of every dimension."""
    columns = []
    for _ in range(dimensions):
        slices = list(range(size))
        rng.shuffle(slices)
        columns.append([(number + rng.random()) / size for number in slices])
    return [list(point) for point in zip(*columns, strict=True)]


def mutants(members: list[list[float]], best: int, rng: Random) -> list[list[float]]:
    """best1bin: each member crossed with best + F (one - other); a number outside [0, 1) is drawn anew."""
    factor, trials = rng.uniform(*MUTATION), []
    for number, member in enumerate(members):
        one, other = rng.sample([index for index in range(len(members)) if index != number], 2)
        always = rng.randrange(len(member))
        trial = list(member)
        for place in range(len(member)):
            if place == always or rng.random() < RECOMBINATION:
                value = members[best][place] + factor * (members[one][place] - members[other][place])
                trial[place] = value if 0 <= value < 1 else rng.random()
        trials.append(trial)
    return trials


def decode(member: list[float], task: Task) -> Changes:
    """The changes that a member stands for."""
    numbers, changes = list(task.candidates), {}
    for one, other in zip(member[::2], member[1::2], strict=True):
        position = int(one * (len(numbers) + 1))
        if position < len(numbers) and task.fits(numbers[position], changes):
            texts = task.candidates[numbers[position]]
            changes[numbers[position]] = texts[int(other * len(texts))]
    return dict(sorted(changes.items()))


def _measure(task: Task, members: list[list[float]], known: dict) -> Search:
    """(changes, result) of each member; a refused or unasked text has a loss below all others."""
    decoded = [decode(member, task) for member in members]
    fresh = {tuple(changes.items()): changes for changes in decoded if changes}
    asked = [changes for key, changes in fresh.items() if key not in known]
    answered = {tuple(changes.items()): result for changes, result in (yield from task.ask(asked))}
    nothing = {**task.clean, "loss": float("-inf")}
    for changes in asked:
        key = tuple(changes.items())
        known[key] = answered.get(key, nothing)
    known[()] = task.clean
    return [(changes, known[tuple(changes.items())]) for changes in decoded]


def _winner(task: Task, found: list[Found]) -> bool:
    return any(task.won(result) for _, result in found)
