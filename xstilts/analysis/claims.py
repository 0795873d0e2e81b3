"""claims.csv: the fourteen claims of catalog/claims.yaml, with what this study says about each.

A verdict is `holds`, `fails`, `undecided` or `not run`. Measurable claims are about XLM-R large on XTREME: a study of
generated or capped data, or of another encoder, can show a value but no verdict on them. Claims about the structure
of the experiment are read off the catalog and the study; in a demonstration they are `undecided` at most.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xstilts.analysis import bootstrap
from xstilts.analysis.comparisons import NONE
from xstilts.analysis.context import MODEL, NINE, Context

RETRIEVAL = ("bucc2018", "tatoeba")
ENGLISH_FORM = {"mlm": set(), "mnli_translated": {"mnli"}}  # what the English training has in its place
TOLERANCE = 1.5  # points by which two printings of the paper's results differ (catalog/published.csv)


def rows(entries: list[dict], context: Context) -> list[dict]:
    """One row a claim, in the catalog's order. entries: claims.yaml's (claim, measure, published, source)."""
    result = []
    for entry in entries:
        number = int(entry["claim"])
        published = entry.get("published")
        published = ", ".join(map(str, published)) if isinstance(published, list) else published and str(published)
        about = {"claim": number, "measure": entry["measure"], "published": published, "source": entry["source"]}
        if number in MEASURED:
            result.append({**about, **_measured(MEASURED[number](context, entry), context)})
        elif number in STRUCTURAL:
            value, holds, why = STRUCTURAL[number](context)
            verdict = "holds" if holds else "not run" if number in ABOUT_THE_STUDY else "fails"
            if holds and context.spec["demonstration"]:
                verdict, why = "undecided", f"{why}; but this study is a demonstration and decides nothing"
            result.append({**about, "value": value, "verdict": verdict, "why": why})
        else:
            why = "a statement about the literature of 2020: no run of this workflow can check it"
            result.append({**about, "verdict": "not run", "why": why})
    return result


# ---- measurable claims: each function gives (vector or None, verdict on real data, why)
def _measured(found: tuple[np.ndarray | None, str, str], context: Context) -> dict:
    vector, verdict, why = found
    if vector is None:
        return {"verdict": "not run", "why": why}
    low, high = bootstrap.interval(vector)
    values = {"value": float(vector[0]), "ci_low": low, "ci_high": high}
    if context.spec["demonstration"]:
        embedded = "embedded" in context.spec["sources"].values()
        data = "embedded data is a demonstration" if embedded else "capped data is a demonstration"
        return {**values, "verdict": "undecided", "why": f"{data}; {why}"}
    if context.model != MODEL:
        return {**values, "verdict": "undecided", "why": f"measured on {context.model}, not on {MODEL}; {why}"}
    if not context.whole():
        return {**values, "verdict": "undecided", "why": f"not every language that XTREME's tasks have; {why}"}
    return {**values, "verdict": verdict, "why": why}


def _size_verdict(vector: np.ndarray, published: float) -> str:
    """Of a claimed size: fails outside the interval and tolerance, undecided while the interval has 0, else holds."""
    low, high = bootstrap.interval(vector)
    if not low - TOLERANCE <= published <= high + TOLERANCE:
        return "fails"
    return "undecided" if low <= 0 else "holds"


def _sign_verdict(vector: np.ndarray) -> str:
    low, high = bootstrap.interval(vector)
    return "holds" if low > 0 else "fails" if high < 0 else "undecided"


def _published(entry: dict) -> float:
    """The published number; the mean where a claim names several."""
    value = entry["published"]
    return float(np.mean(value)) if isinstance(value, list) else float(value)


def _single_tasks(context: Context, entry: dict):
    wanted = ("squad", "mnli", "hellaswag")
    gains = {name: context.gain(name, context.spec["targets"]) for name in wanted if name in context.singles()}
    gains = {name: gain for name, gain in gains.items() if gain is not None}
    if not gains:
        return None, "", f"needs {', '.join(wanted)} on every target of {context.model}"
    parts = ", ".join(f"{name} {gain[0]:+.1f}" for name, gain in gains.items())
    vector, missing = np.mean(list(gains.values()), axis=0), [name for name in wanted if name not in gains]
    why = f"mean gain over {len(context.spec['targets'])} targets of {context.model}: {parts}"
    if missing or len(context.spec["targets"]) < 9:
        return vector, "undecided", f"{why}; not run: {', '.join(missing) or 'some of the nine targets'}"
    return vector, _size_verdict(vector, _published(entry)), why


def _mixture(context: Context, entry: dict):
    gains = {name: context.gain(name, context.spec["targets"]) for name in context.mixtures()}
    gains = {name: gain for name, gain in gains.items() if gain is not None}
    if not gains:
        return None, "", f"needs a mixture on every target of {context.model}"
    tasks = context.spec["intermediates"]
    name = max(gains, key=lambda one: len(tasks[one]))
    singles = [context.gain(one, context.spec["targets"]) for one in context.singles()]
    singles = [gain for gain in singles if gain is not None]
    single = max(singles, key=lambda gain: float(gain[0]), default=None)
    why = f"{name} ({len(tasks[name])} tasks) on {context.model}"
    why += "" if single is None else f"; best single task {single[0]:+.1f}"
    if not set(tasks[name]) >= set(NINE) or len(context.spec["targets"]) < 9:
        return gains[name], "undecided", why + "; not all nine tasks and targets"
    verdict = _size_verdict(gains[name], _published(entry))
    better = "holds" if single is None else _sign_verdict(gains[name] - single)
    return gains[name], "fails" if "fails" in (verdict, better) else verdict if better == "holds" else "undecided", why


def _retrieval(context: Context, entry: dict):
    targets = context.spec["targets"]
    names = [name for name in RETRIEVAL if name in targets]
    others = [name for name in targets if name not in RETRIEVAL]
    pairs = [(context.gain(one, names), context.gain(one, others)) for one in context.singles() + context.mixtures()]
    pairs = [pair for pair in pairs if pair[0] is not None and pair[1] is not None]
    if not pairs:
        return None, "", "needs retrieval and other targets with an intermediate"
    mine, rest = (np.mean([pair[place] for pair in pairs], axis=0) for place in (0, 1))
    signs = {_sign_verdict(mine), _sign_verdict(mine - rest)}
    verdict = "fails" if "fails" in signs else "undecided" if "undecided" in signs else "holds"
    why = f"mean gain of {' and '.join(names)} over {len(pairs)} intermediates of {context.model}"
    why += f"; other targets {rest[0]:+.1f}"
    return mine, verdict, why


def _tydiqa(context: Context, entry: dict):
    if not {"tydiqa", "xnli"} <= set(context.spec["targets"]):
        return None, "", "needs tydiqa and xnli"
    gains = {one: context.gain(one, ["tydiqa"]) for one in context.singles()}
    other = {one: context.gain(one, ["xnli"]) for one in context.singles()}
    gains = {one: gain for one, gain in gains.items() if gain is not None and other[one] is not None}
    if not gains:
        return None, "", "needs a single intermediate task on tydiqa and xnli"
    up = sum(bootstrap.interval(gain)[0] > 0 for gain in gains.values())
    nli = sum(bootstrap.interval(other[one])[0] > 0 for one in gains)
    why = f"{up} of {len(gains)} intermediates improve tydiqa, {nli} xnli (intervals exclude 0; {context.model})"
    verdict = "undecided" if len(gains) < 3 else "holds" if 2 * up > len(gains) and 2 * nli < len(gains) else "fails"
    return np.mean(list(gains.values()), axis=0), verdict, why


def _best_of(context: Context, entry: dict):
    targets = list(context.spec["targets"])
    names = {target: context.choice.get((context.model, target), NONE) for target in targets}
    gains = [context.gain(names[target], [target]) for target in targets]
    if any(gain is None for gain in gains):
        return None, "", f"needs every target of {context.model}"
    vector = np.mean(gains, axis=0)
    why = f"English intermediate per target chosen on English dev, {len(targets)} targets of {context.model}"
    if set(targets) & set(RETRIEVAL):
        return vector, "undecided", why + "; retrieval has no English dev score, so `none` stands there"
    return vector, _size_verdict(vector, _published(entry)), why


def _alternatives(context: Context, entry: dict):
    """English training minus the same with multilingual MLM mixed in, or with its translated data instead."""
    names = {frozenset(context.spec["intermediates"][name]): name for name in reversed(context.trained())}
    gains = {tasks: context.gain(name, context.spec["targets"]) for tasks, name in names.items()}
    differences: dict[str, list[np.ndarray]] = {}
    lacking, steps = [], []
    for variant, plain in ENGLISH_FORM.items():
        differences[variant] = []
        for tasks in [tasks for tasks in names if variant in tasks]:
            other = tasks - {variant} | plain
            if gains.get(other) is not None and gains[tasks] is not None:
                differences[variant].append(gains[other] - gains[tasks])
                steps += _steps(context, names[other], names[tasks])
            else:
                what = "the same in English was not trained" if other not in names else "scores are missing"
                lacking.append(f"{names[tasks]}: {what}")
        if not any(variant in tasks for tasks in names):
            lacking.append(f"{variant} not run")
    found = [vector for vectors in differences.values() for vector in vectors]
    if not found:
        wanted = "needs an intermediate with mlm or mnli_translated, and the same without"
        return None, "", "; ".join([wanted, *lacking])
    vector = np.mean(found, axis=0)
    parts = [
        f"{variant} {np.mean(vectors, axis=0)[0]:+.1f} ({len(vectors)} {'pair' if len(vectors) == 1 else 'pairs'})"
        for variant, vectors in differences.items()
        if vectors
    ]
    why = "; ".join([f"English training minus its variant: {', '.join(parts)}", *lacking, *steps])
    if any(vectors and all(_sign_verdict(one) == "fails" for one in vectors) for vectors in differences.values()):
        return vector, "fails", why  # one variant is better in every pair
    return vector, _sign_verdict(vector) if all(differences.values()) else "undecided", why


def _steps(context: Context, plain: str, variant: str) -> list[str]:
    """Says so where the two trainings had different numbers of steps, which is a difference of its own."""
    counts = [context.steps(name) for name in (plain, variant)]
    if counts[0] == counts[1] or not all(counts):
        return []
    shown = [f"{name} {' or '.join(map(str, one))}" for name, one in zip((plain, variant), counts, strict=True)]
    return [f"numbers of steps differ: {', '.join(shown)}"]


MEASURED: dict[int, Callable] = {
    1: _single_tasks, 2: _mixture, 3: _retrieval, 4: _tydiqa, 5: _best_of, 6: _alternatives,
}  # fmt: skip


# ---- structural claims: each function gives (value, holds, why)
def _intermediates(context: Context) -> dict[str, dict]:
    return {name: task for name, task in context.tasks.items() if "intermediate" in task["roles"]}


def _targets(context: Context) -> dict[str, dict]:
    return {name: task for name, task in context.tasks.items() if "target" in task["roles"]}


def _coverage(context: Context):
    targets = _targets(context)
    codes = {code for task in targets.values() for code in task["languages"]}
    groups = {task["group"] for task in targets.values()}
    why = f"the catalog's {len(targets)} targets in {len(groups)} groups cover {len(codes)} languages"
    return len(codes), len(codes) == 40 and len(targets) == 9, why


def _nine(context: Context):
    found = [name for name in NINE if name in _intermediates(context)]
    return len(found), len(found) == 9, f"in the catalog: {', '.join(found)}"


def _types(context: Context):
    wanted = {"question answering": "squad", "tagging": "ccg", "sentence completion": "hellaswag",
              "paraphrase detection": "qqp", "NLI": "mnli"}  # fmt: skip
    found = {kind: name for kind, name in wanted.items() if name in _intermediates(context)}
    return len(found), len(found) == len(wanted), "; ".join(f"{kind}: {name}" for kind, name in found.items())


def _phases(context: Context):
    trained = any(cell["intermediate"] != NONE for cell in context.spec["cells"])
    targets = context.spec["targets"].values()
    fine_tuned = [target for target in targets if target.get("training_task")]
    abroad = any(set(target["languages"]) - {"en"} for target in targets)
    phases = 1 + trained + bool(fine_tuned and abroad)
    why = "published pretrained encoder, intermediate training, target training with zero-shot evaluation"
    return phases, phases == 3, why


def _single_and_multi(context: Context):
    tasks = [names for names in context.spec["intermediates"].values() if names]
    single, multi = sum(len(names) == 1 for names in tasks), sum(len(names) > 1 for names in tasks)
    return (
        single + multi,
        bool(single and multi),
        f"intermediates of this study: single tasks {single}, mixtures {multi}",
    )


def _xtreme(context: Context):
    names = set(context.spec["targets"])
    return len(names), names <= set(_targets(context)), f"targets of this study: {', '.join(context.spec['targets'])}"


def _formats(context: Context):
    kinds = {task["kind"] for task in _intermediates(context).values()}
    wanted = {"pair": "classification", "span_qa": "question answering", "choice": "multiple choice"}
    found = [name for kind, name in wanted.items() if kind in kinds]
    why = f"formats in the catalog: {', '.join(found)}; all kinds: {', '.join(sorted(kinds))}"
    return len(found), len(found) == 3, why


# what a study leaves out says nothing against the paper's design
ABOUT_THE_STUDY = (11, 12, 13)
STRUCTURAL: dict[int, Callable] = {
    8: _coverage, 9: _nine, 10: _types, 11: _phases, 12: _single_and_multi, 13: _xtreme, 14: _formats,
}  # fmt: skip
