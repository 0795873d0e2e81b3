"""Searches in steps over all units, and the search of one step."""

from __future__ import annotations

from xstilts.attacks.search.task import Changes, Found, Search, Task


def beam(task: Task, width: int | None = None) -> Search:
    """Beam search: BeamSearch of TextAttack 0.3.11.

    Each step tries every candidate of every unit on top of each of the `options.width` worst texts of the step before,
    `most` steps at most; it ends with the first winner. Orders of the same changes are one text, tried once. A step's
    texts are tried in the order that the generator gives, `budget.at_once` at a time, and the step ends with the first
    portion that holds a winner: without a limit of queries the same examples succeed as without portions, with fewer
    queries, though not always by the text of the highest loss. The best of a step goes on even where it lowers the
    loss, as in the source; a search without a winner returns the worst text of all its steps (the source: of the last).
    """
    width = width or task.options["width"]
    best: Found = ({}, task.clean)
    members: list[Found] = [best]
    for _ in range(task.most):
        trials = _trials(task, members)
        task.rng.shuffle(trials)
        found = yield from task.ask(trials, task.budget.get("at_once"))
        if not found:
            break
        worst = task.worst(found)
        if task.won(worst[1]):
            return worst
        if worst[1]["loss"] > best[1]["loss"]:
            best = worst
        members = sorted(found, key=lambda one: -one[1]["loss"])[:width]
    return best


def _trials(task: Task, members: list[Found]) -> list[Changes]:
    """All texts one change away from a member, each once."""
    trials = [
        {**kept, unit: text}
        for kept, _ in members
        for unit, texts in task.candidates.items()
        if task.fits(unit, kept)
        for text in texts
    ]
    if len(members) == 1:
        return trials
    return list({frozenset(changes.items()): changes for changes in trials}.values())


def greedy(task: Task) -> Search:
    """The best single change of all, repeated: GreedySearch of TextAttack 0.3.11, a beam of width 1."""
    return beam(task, 1)


def once(task: Task) -> Search:
    """All units changed at once, each to its first candidate: one query, and its text is the outcome, won or not.

    Where only `most` of them may change, the generator chooses which; of units that overlap the first stays.
    """
    order = list(task.candidates)
    if task.most < len(order):
        task.rng.shuffle(order)
    changes: Changes = {}
    for unit in order:
        if len(changes) < task.most and task.fits(unit, changes):
            changes[unit] = task.candidates[unit][0]
    found = yield from task.ask([dict(sorted(changes.items()))])
    return found[0] if found else ({}, task.clean)
