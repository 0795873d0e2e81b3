"""Search: which changes to try next. A search is a coroutine over one example; the engine answers all of them at once.

Protocol: it yields a list of `Changes` (unit index -> new text) to be scored and is sent one result per item, in order;
it returns the `Changes` it settles on with their result. It never sees the text, the model or other examples.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

Changes = dict[int, str]
Found = tuple[Changes, dict]
Search = Generator[list[Changes], list[dict], Found]


def greedy_trial(
    candidates: dict[int, list[str]], clean: dict, won: Callable[[dict], bool], most: int, budget: dict
) -> Search:
    """Greedy word-importance ranking by trial.

    Each unit of `candidates` (unit index -> its new texts, one or more) is tried with its first candidate, and units
    are ranked by the loss that it causes. Then, from the top of the ranking on, the unit's other candidates are tried
    on top of the changes kept so far; the worst for the model is kept if it raises the loss. Ends when a result has
    `won`, after `most` changes or when budget["queries"] are spent.
    DeepWordBug ranks by replacing each word with `unk`: that spends its ranking queries on texts that are no attack.
    """

    def worst(found: list[Found]) -> Found:
        return max(found, key=lambda one: (won(one[1]), one[1]["loss"]))

    left = budget["queries"]
    trials = [{unit: texts[0]} for unit, texts in candidates.items()][:left]
    left -= len(trials)
    results = yield trials
    first = dict(zip(candidates, zip(trials, results, strict=True), strict=False))
    best, kept = worst(list(first.values())), ({}, clean)
    if won(best[1]):
        return best
    for unit in sorted(first, key=lambda unit: -first[unit][1]["loss"]):
        if len(kept[0]) == most or left <= 0:
            break
        # on the unchanged text the unit's first candidate has its result already
        texts = candidates[unit] if kept[0] else candidates[unit][1:]
        trials = [{**kept[0], unit: text} for text in texts[:left]]
        left -= len(trials)
        found = [] if kept[0] else [first[unit]]
        if trials:
            found += zip(trials, (yield trials), strict=True)
        best = worst(found)
        if won(best[1]):
            return best
        if best[1]["loss"] > kept[1]["loss"]:
            kept = best
    return kept


SEARCHES = {"greedy_trial": greedy_trial}
