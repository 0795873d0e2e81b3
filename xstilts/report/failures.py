"""Trainings that failed or were begun anew: which, why, with which seeds, and what that means for the scores."""

from __future__ import annotations

from xstilts.report import style
from xstilts.report.contents import Contents
from xstilts.report.style import plural
from xstilts.report.tables import Cell, Table

RULE = (
    "A training has failed where its loss is no finite number, or where its English dev score is within a point of "
    "that of the most frequent answer alone"
)


def table(contents: Contents) -> Table:
    """One row a training that failed or needed more than one attempt."""
    rows = []
    for stage, model, intermediate, task, seed, record in _trainings(contents):
        attempts = _attempts(record)
        if not record.get("failed") and len(attempts) == 1:
            continue
        told = "; ".join(_attempt(attempt) for attempt in attempts)
        outcome = Cell("failed", "lack") if record.get("failed") else f"attempt {len(attempts)} stands"
        rows.append([stage, model, contents.label(intermediate), task, str(seed), outcome, told])
    caption = (
        f"{RULE}; it is then repeated with a seed derived from its own, as often as `restarts` of its preset says. The "
        "first attempt that does not fail stands, else the last. In brackets: the attempt's seed."
    )
    columns = ["stage", "model", "intermediate", "task", "seed", "outcome", "attempts"]
    return Table("failures", caption, columns, rows, 5, prose=True)


def sentence(contents: Contents) -> str:
    """How many trainings failed or were begun anew, and where their scores are; empty where there is none."""
    records = [record for *_, record in _trainings(contents)]
    failed = sum(bool(record.get("failed")) for record in records)
    again = sum(not record.get("failed") and len(_attempts(record)) > 1 for record in records)
    if not failed and not again:
        return ""
    parts = []
    if failed:
        parts.append(
            f"{failed} of {plural(len(records), 'training')} failed: their scores are in every table, mean and "
            "interval, but a failed target training does not count where an intermediate is chosen on English dev"
        )
    if again:
        parts.append(f"{again} of {plural(len(records), 'training')} failed at first and did not with another seed")
    return "; ".join(parts) + ". They are listed under What was run."


def marks(records: list[dict]) -> str:
    """`, 1 failed, 2 restarted` behind a mean over these records; empty where there is nothing to say."""
    failed = sum(bool(record.get("failed")) for record in records)
    again = sum(not record.get("failed") and len(_attempts(record)) > 1 for record in records)
    return (f", {failed} failed" if failed else "") + (f", {again} restarted" if again else "")


def _trainings(contents: Contents) -> list[tuple]:
    """(stage, model, intermediate, task, seed, train.json) of every training that there is a record of."""
    found = [
        ("intermediate", model, name, " + ".join(map(style.task, contents.spec["intermediates"][name])), seed, record)
        for (model, name, seed), record in contents.intermediate_records.items()
    ]
    return found + [
        ("target", model, name, style.task(task), seed, record)
        for (model, name, seed, task), record in contents.records.items()
    ]


def _attempts(record: dict) -> list[dict]:
    """The attempts of a training; one, where its record is of a time when none was repeated."""
    reason = record.get("reason") or ("English dev is at the majority" if record.get("failed") else None)
    return record.get("attempts") or [{"seed": record.get("seed"), "steps": record.get("steps"), "reason": reason}]


def _attempt(attempt: dict) -> str:
    steps = plural(attempt["steps"], "step") if attempt.get("steps") else "its steps"
    if attempt.get("reason"):
        return f"{attempt['reason']}, after {steps} (seed {attempt['seed']})"
    return f"did not fail in {steps} (seed {attempt['seed']})"
