"""The transfer job: adversarial texts that an attack found on one cell, put to another cell as they are.

A static test: no search and no query, and the same examples and texts for every cell. Its rows are never mixed with
those of adaptive attacks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from xstilts import files, paths
from xstilts.attacks import goals
from xstilts.attacks.outcomes import FAILED, SKIPPED, SUCCEEDED, WRONG_BEFORE
from xstilts.errors import UserError
from xstilts.robustness import attacker
from xstilts.robustness.attack import read
from xstilts.robustness.inputs import Place

SOURCE_FAILED = "source failed"  # the attack did not succeed on its source, or skipped the example there
HELD = "held"  # the text that beat the source did not beat this victim
LISTS = ("tokens",)  # fields that rows join by tabs


def adversarial(example: dict, row: dict) -> dict:
    """The example with the texts of an outcome row in the place of its own, and the gold answers that the row moved.

    Raises UserError where tokens no longer fit the gold tags.
    """
    changed = dict(example)
    for field, text in row["adversarial"].items():
        changed[field] = text.split("\t") if field in LISTS else text
        if field in LISTS and len(changed[field]) != len(example[field]):
            raise UserError(
                f"{row['id']}: {field}: {len(changed[field])} in the adversarial text, {len(example[field])} before"
            )
    if row.get("answers") is not None:
        changed["answers"] = row["answers"]
    return changed


def transferred(goal: goals.Goal | None, row: dict, clean: dict, changed: dict | None) -> dict:
    """The row of one example: `row` of the source's attack, the victim's results on the clean and the changed text.

    succeeded: it had on the source, the victim was right on the clean text (by the attack's own goal) and reaches the
    goal on the changed one; failed: the victim held. Skipped examples keep their clean score: their text is not used.
    """
    why, result = HELD, changed
    if row["outcome"] != SUCCEEDED:
        outcome, why, result = SKIPPED, SOURCE_FAILED, clean
    elif goal is None or not goal.attacked(clean):
        outcome, why, result = SKIPPED, WRONG_BEFORE, clean
    elif goal.won(clean, changed):
        outcome, why = SUCCEEDED, ""
    else:
        outcome = FAILED
    used = outcome != SKIPPED
    found = {
        "id": row["id"],
        "outcome": outcome,
        "why": why,
        "queries": 0,
        "vanished": 0,
        "refused": 0,
        "perturbed": row["perturbed"] if used else 0.0,
        "similarity": row["similarity"] if used else 1.0,
        "clean": clean["score"],
        "attacked": result["score"],
    }
    if used:
        found |= {key: row[key] for key in ("original", "adversarial", "answers", "cosine") if key in row}
    if "counts" in clean:
        found |= {"clean_counts": clean["counts"], "attacked_counts": result["counts"]}
    return found


def transfer(examples: Sequence[dict], rows: Sequence[dict], victim, goal: goals.Goal | None, where: str) -> list[dict]:
    """One row an example of the source, in the source's order. `victim`: see `engine.Victim`, called once.

    `where`: the source's file, for the UserError of an id that the examples do not have.
    """
    known = {example["id"]: example for example in examples}
    unknown = [row["id"] for row in rows if row["id"] not in known]
    if unknown:
        raise UserError(
            f"{where}: id {unknown[0]!r} is not in the prepared examples: the file is of an older run. Next: delete it "
            "and run the study again."
        )
    beaten = [row for row in rows if row["outcome"] == SUCCEEDED]
    asked = [known[row["id"]] for row in rows] + [adversarial(known[row["id"]], row) for row in beaten]
    found = victim(asked) if asked else []
    clean, changed = found[: len(rows)], found[len(rows) :]
    by_id = dict(zip((row["id"] for row in beaten), changed, strict=True))
    return [transferred(goal, row, one, by_id.get(row["id"])) for row, one in zip(rows, clean, strict=True)]


def run(spec: dict, results: Path, out_dir: Path, cost: Path, device: str = "auto") -> None:
    """Write `<out_dir>/<target>/<language>.jsonl`, one row an example of the source, for a `transfer` spec.

    Everything is read below `results` (xstilts/paths.py): the source's outcomes, examples, model and checkpoints.
    """
    from xstilts.evaluation.timing import Clock
    from xstilts.models import loading, runtime

    place, where = Place(Path(results), Path(results), None, device), runtime.device(device)
    by_task: dict[str | None, list[str]] = {}
    for target, entry in spec["targets"].items():
        by_task.setdefault(entry["training_task"], []).append(target)
    clock = tokenizer = None
    for task, targets in by_task.items():
        model = None  # not two models at a time
        folder = place.below(paths.MODEL_DIR, model=spec["model"]["name"])
        model = loading.load(folder, place.checkpoint(spec, task), where, runtime.lean(spec["precision"]))
        clock = clock or Clock(spec, None, where)  # what came before is start-up
        model.tokenizer = tokenizer = tokenizer or model.tokenizer  # one for all models: reading it takes 0.6 s
        for target in targets:
            for language in spec["targets"][target]["languages"]:
                rows, tokens = _one(spec, place, model, target, language)
                files.write_jsonl(Path(out_dir) / target / f"{language}.jsonl", rows)
                clock.tokens += tokens
    clock.write(cost)


def _one(spec: dict, place: Place, model, target: str, language: str) -> tuple[list[dict], int]:
    """(rows, tokens) of one target in one language."""
    began, name, entry = time.perf_counter(), spec["attack"]["name"], spec["targets"][target]
    made = place.below(paths.attack_rows(target, language), attack=name, **spec["source"])
    examples, used = read(place.below(paths.examples(target, language, "test")), entry), []

    def victim(rows: list[dict]) -> list[dict]:
        found, tokens = attacker.results(
            model, entry, rows, language, spec["precision"], examples=examples, layers=spec["model"]["layers"],
            pre_norm=spec["model"]["pre_norm"],
        )  # fmt: skip
        used.append(tokens)
        return found

    goal = goals.goal(spec["attack"], entry["kind"], entry["options"])
    rows = transfer(examples, files.read_jsonl(made), victim, goal, str(made))
    won, tried = (sum(row["outcome"] in names for row in rows) for names in ((SUCCEEDED,), (SUCCEEDED, FAILED)))
    print(f"{name} {target} {language}: {won} of {tried} transferred; {time.perf_counter() - began:.1f} s", flush=True)
    return rows, sum(used)
