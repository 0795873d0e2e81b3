"""Searches that rank the units once and then change them from the top of the ranking on."""

from __future__ import annotations

from xstilts.attacks.search.task import Changes, Found, Probe, Search, Task

# what stands in a unit's place while its importance is measured
UNK, MASK = "[UNK]", "<mask>"
BY = ("unk", "delete", "mask")


def ranked(task: Task) -> Search:
    """Word importance ranking: GreedyWordSwapWIR of TextAttack 0.3.11, which follows TextFooler (arXiv 1907.11932).

    Every unit is ranked by the loss of the clean text with `options.unk` in its place (by: unk, default "[UNK]"), with
    nothing (delete) or with `options.mask` (mask, default "<mask>"); a token of a tagging example cannot be deleted and
    is ranked by unk. Then, from the top on, all candidates of a unit are put on top of the changes kept so far; the
    worst for the model is kept if it raises the loss. Ends with the first winner, after `most` changes or when the
    queries are spent. Unlike the source, a winner counts although a candidate that is none has a higher loss, and
    ranking takes at most half of the queries: of more units, so many are drawn and ranked, and the others come after
    them in random order.
    """
    by, unk = task.options.get("by", BY[0]), task.options.get("unk", UNK)
    place = {"unk": unk, "delete": "", "mask": task.options.get("mask", MASK)}[by]
    order, most = list(task.candidates), int(min(len(task.candidates), task.left / 2))
    if most < len(order):
        task.rng.shuffle(order)
    probes = [Probe({unit: place or (unk if task.units[unit].token is not None else "")}) for unit in order[:most]]
    losses = {unit: result["loss"] for probe, result in (yield from task.ask(probes)) for unit in probe}
    kept: Found = ({}, task.clean)
    for unit in sorted(order, key=lambda unit: -losses.get(unit, float("-inf"))):
        if len(kept[0]) >= task.most or task.left <= 0:
            break
        if not task.fits(unit, kept[0]):
            continue
        found = yield from task.ask([{**kept[0], unit: text} for text in task.candidates[unit]])
        kept = _keep(task, found, kept)
        if kept[0] and task.won(kept[1]):
            break
    return kept


def greedy_trial(task: Task) -> Search:
    """Word importance ranking by trial.

    Each unit is tried with its first candidate, and units are ranked by the loss that it causes. Then, from the top of
    the ranking on, the unit's other candidates are tried on top of the changes kept so far; the worst for the model is
    kept if it raises the loss. Ends when a result has won, after `most` changes or when the queries are spent. Ours:
    ranking by unk spends its queries on texts that are no attack.
    """
    trials: list[Changes] = [{unit: texts[0]} for unit, texts in task.candidates.items()]
    first = {next(iter(changes)): (changes, result) for changes, result in (yield from task.ask(trials))}
    kept: Found = ({}, task.clean)
    if first and task.won((best := task.worst(list(first.values())))[1]):
        return best
    # a unit whose first candidate was refused may have others that are not
    loss = {unit: first[unit][1]["loss"] if unit in first else float("-inf") for unit in task.candidates}
    for unit in sorted(loss, key=lambda unit: -loss[unit]):
        if len(kept[0]) >= task.most:
            break
        if not task.fits(unit, kept[0]):
            continue
        # on the unchanged text the unit's first candidate has its result already
        known = [] if kept[0] or unit not in first else [first[unit]]
        texts = task.candidates[unit] if kept[0] else task.candidates[unit][1:]
        found = known + (yield from task.ask([{**kept[0], unit: text} for text in texts]))
        kept = _keep(task, found, kept)
        if (kept[0] and task.won(kept[1])) or task.left <= 0:
            break
    return kept


def _keep(task: Task, found: list[Found], kept: Found) -> Found:
    """The worst of `found` where it has won or raises the loss, else what was kept."""
    if not found:
        return kept
    best = task.worst(found)
    return best if task.won(best[1]) or best[1]["loss"] > kept[1]["loss"] else kept
